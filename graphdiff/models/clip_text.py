"""CLIP's text encoder. Radford et al. 2021, arXiv:2103.00020."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphdiff.models.base import Model
from graphdiff.models.configs import CLIPTextConfig


class CLIPTextOutput(NamedTuple):
    """What a text encoder gives.

    Args:
        last_hidden_state: The last layer's vectors, normalised, shape (N, L, width).
        pooler_output: Those at the end of each text, shape (N, width).
        hidden_states: The vectors before the first layer and after each, not normalised.
        text_embeds: `pooler_output` projected, for models with a projection.
    """

    last_hidden_state: Tensor
    pooler_output: Tensor
    hidden_states: tuple[Tensor, ...]
    text_embeds: Tensor | None = None


class CLIPEmbeddings(nn.Module):
    """Tokens and their places, as vectors."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(N, L) to (N, L, width)."""
        length, longest = input_ids.shape[-1], self.position_embedding.num_embeddings
        if length > longest:
            raise ValueError(
                f"{length} tokens were given, this text encoder reads at most {longest}"
            )
        places = torch.arange(length, device=input_ids.device)
        x: Tensor = self.token_embedding(input_ids) + self.position_embedding(places)
        return x


class CLIPAttention(nn.Module):
    """Each token attends to itself and those before it."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.heads = config.num_attention_heads
        self.dropout = config.attention_dropout

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, L, width) to the same; `mask` (N, 1, L, L) says who may attend to whom."""
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        h = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None
        )
        y: Tensor = self.out_proj(h.transpose(1, 2).flatten(2))  # (N, L, width)
        return y


class CLIPMLP(nn.Module):
    """Two linear layers around an activation."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.is_quick = config.hidden_act == "quick_gelu"

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, width) to the same."""
        h: Tensor = self.fc1(x)
        y: Tensor = self.fc2(h * torch.sigmoid(1.702 * h) if self.is_quick else F.gelu(h))
        return y


class CLIPLayer(nn.Module):
    """Attention and two linear layers, each around a skip."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = CLIPAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, L, width) to the same."""
        x = x + self.self_attn(self.layer_norm1(x), mask)
        x = x + self.mlp(self.layer_norm2(x))
        return x


class CLIPEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CLIPLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        """(N, L, width) before the first layer and after each."""
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        return tuple(states)


class CLIPTextTransformer(nn.Module):
    """All but the projection, under the name that files have before theirs."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.embeddings = CLIPEmbeddings(config)
        self.encoder = CLIPEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.eos_token_id = config.eos_token_id

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None) -> CLIPTextOutput:
        """Encode tokens (N, L)."""
        length = input_ids.shape[-1]
        mask: Tensor | None = None
        if attention_mask is not None:
            before = torch.ones(length, length, dtype=torch.bool, device=input_ids.device).tril()
            mask = before & attention_mask.bool()[:, None, None, :]  # (N, 1, L, L)
        states: tuple[Tensor, ...] = self.encoder(self.embeddings(input_ids), mask)
        last: Tensor = self.final_layer_norm(states[-1])  # (N, L, width)
        # Configs of before 2023 say 2, whatever the end token is: it has the highest id.
        is_end = input_ids if self.eos_token_id == 2 else (input_ids == self.eos_token_id).int()
        place = is_end.argmax(dim=-1)  # (N,), the first of them where it also pads
        return CLIPTextOutput(
            last, last[torch.arange(len(last), device=last.device), place], states
        )


class CLIPTextModel(Model[CLIPTextConfig]):
    """CLIP's text encoder.

    Args:
        config: Its configuration.
    """

    config_class: ClassVar[type[CLIPTextConfig]] = CLIPTextConfig
    weights_name: ClassVar[str] = "model"

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__(config)
        self.text_model = CLIPTextTransformer(config)

    def config_dict(self) -> dict[str, Any]:
        """The content of its config.json, which names the class."""
        return self.config.to_dict() | {"architectures": [type(self).__name__]}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_hidden_states: bool = True,
        return_dict: bool = True,
    ) -> CLIPTextOutput:
        """Encode texts.

        Args:
            input_ids: Tokens, shape (N, L).
            attention_mask: 1 for tokens and 0 for padding, shape (N, L); None attends to both, as
                diffusion models are trained.
            output_hidden_states: They always come; taken for transformers' sake.
            return_dict: What comes back is a tuple with names, whichever is asked for.

        Raises:
            ValueError: There are more tokens than positions.
        """
        output: CLIPTextOutput = self.text_model(input_ids, attention_mask)
        return output


class CLIPTextModelWithProjection(CLIPTextModel):
    """CLIP's text encoder with the projection that CLIP compares pictures with.

    Args:
        config: Its configuration.
    """

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__(config)
        width = config.projection_dim or config.hidden_size
        self.text_projection = nn.Linear(config.hidden_size, width, bias=False)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        output_hidden_states: bool = True,
        return_dict: bool = True,
    ) -> CLIPTextOutput:
        """As `CLIPTextModel.forward`, with `text_embeds` of shape (N, projection_dim)."""
        output = super().forward(input_ids, attention_mask)
        return output._replace(text_embeds=self.text_projection(output.pooler_output))
