"""What is worked out of an object is worked out once."""

from __future__ import annotations

from graphdiff.engine.by_identity import ByIdentity


def test_the_same_object_is_asked_once_and_an_equal_one_again() -> None:
    asked: list[tuple[int, ...]] = []

    def total(value: tuple[int, ...]) -> int:
        asked.append(value)
        return sum(value)

    total_of = ByIdentity(total)
    value, equal = tuple([1, 2]), tuple([1, 2])
    assert [total_of(value), total_of(value), total_of(equal)] == [3, 3, 3]
    assert len(asked) == 2


def test_what_else_the_answer_depends_on_tells_answers_apart() -> None:
    def told(value: object, name: str) -> str:
        return f"{name}={value}"

    named = ByIdentity(told)
    value = object()
    assert named(value, "a") != named(value, "b")
    assert named(value, "a") is named(value, "a")


def test_an_object_is_held_so_that_no_other_takes_its_place() -> None:
    def first(values: list[int]) -> int:
        return values[0]

    first_of = ByIdentity(first)
    assert [first_of([n]) for n in range(50)] == list(range(50))


def test_only_the_last_answers_are_kept() -> None:
    asked: list[object] = []
    noted = ByIdentity(asked.append, most=2)
    a, b, c = object(), object(), object()
    for value in (a, b, a, c, a, b):
        noted(value)
    assert asked == [a, b, c, b]
