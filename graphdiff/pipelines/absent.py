"""What diffusers' pipelines have and these have not, and what there is instead."""

from __future__ import annotations

_IP_ADAPTER = "there are no IP-Adapters yet"
_QKV = "weights are used as the checkpoint has them, which gives the same pictures"

METHODS = {
    "enable_group_offload": "enable_model_cpu_offload() keeps only those models on the device that "
    "work together, enable_sequential_cpu_offload() only some of their layers",
    "enable_freeu": "there is no FreeU; steps of one's own are nodes of a workflow's loop",
    "disable_freeu": "there is no FreeU to disable",
    "fuse_qkv_projections": _QKV,
    "unfuse_qkv_projections": _QKV,
    "load_ip_adapter": _IP_ADAPTER,
    "set_ip_adapter_scale": _IP_ADAPTER,
    "unload_ip_adapter": _IP_ADAPTER,
    "register_modules": "a component is put in its place by assignment, as in pipeline.vae = vae",
    "progress_bar": "set_progress_bar_config changes the bar, on_event of a call tells the steps",
    "prepare_latents": "give latents to the call, or write a workflow with NoiseSample",
    "maybe_free_model_hooks": "there are no hooks: weights leave when others need their room",
    "remove_all_hooks": "there are no hooks: weights leave when others need their room",
    "upcast_vae": "the VAE computes in float32 where its configuration asks for it",
    "numpy_to_pil": "output_type='pil' gives Pillow's pictures",
    "check_inputs": "the call checks what it is given",
    "run_safety_checker": "the call runs it; safety_checker=None leaves it out",
    "image_processor": "the call takes and gives pictures as PIL, numpy and torch",
    "push_to_hub": "write a folder with save_pretrained, and upload that",
    "download": "fetch a checkpoint with: graphdiff models pull ID",
    "save_lora_weights": "a LoRA is trained and written by: python -m training lora",
}

OPTIONS = {
    "custom_pipeline": "write a workflow file instead; graphdiff init text_to_image makes one",
    "trust_remote_code": "code that comes with a checkpoint is never run",
    "device_map": "say where to compute with .to('cuda')",
    "max_memory": "bound the weights on a device with enable_model_cpu_offload()",
    "offload_folder": "weights are mapped files, which need no other folder",
    "quantization_config": "torch_dtype chooses 16 bits; there is no quantization",
    "image_encoder": _IP_ADAPTER,
    "original_config": "give config=FOLDER, with the configuration in diffusers' layout",
    "original_config_file": "give config=FOLDER, with the configuration in diffusers' layout",
    "cache_dir": "say where the hub's cache lies by the environment variable HF_HUB_CACHE",
    "force_download": "fetch a checkpoint with: graphdiff models pull ID",
    "proxies": "say which proxy to use by the environment variable HTTPS_PROXY",
    "from_flax": "only safetensors files are loaded",
}

# Options that ask for what is so anyway, and the values that do.
GRANTED: dict[str, tuple[object, ...]] = {
    "trust_remote_code": (False, None),
    "low_cpu_mem_usage": (True, False, None),
    "disable_mmap": (False,),
    "add_watermarker": (False, None),
    "device_map": (None,),
    "custom_pipeline": (None,),
    "cache_dir": (None,),
    "force_download": (False, None),
    "resume_download": (True, False, None),
    "proxies": (None,),
    "image_encoder": (None,),
    "requires_safety_checker": (True, False, None),
    "feature_extractor": (None,),
    "load_safety_checker": (False, None),
    "from_flax": (False, None),
    "quantization_config": (None,),
    "max_memory": (None,),
    "offload_folder": (None,),
    "original_config": (None,),
}

# Arguments of diffusers' calls; None asks for what is so anyway.
ARGUMENTS = {
    "ip_adapter_image": _IP_ADAPTER,
    "ip_adapter_image_embeds": _IP_ADAPTER,
    "callback": "callback_on_step_end is called after each step",
    "callback_steps": "callback_on_step_end is called after each step, and told its number",
    "use_clipped_model_output": "a scheduler of one's own can do it in a loop of one's own",
}
