"""A property that is computed once, without a lock."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar, overload

__all__ = ["cached_property"]

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 - used as the decorator of that name is
    """As `functools.cached_property`, which up to Python 3.11 holds a lock while it computes.

    In a forked child that lock stays locked for ever where another thread of the parent held it.
    Two threads that ask for the first time at once may both compute here, and find the same.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> cached_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> T: ...
    def __get__(self, instance: Any, owner: type[Any]) -> cached_property[T] | T:
        if instance is None:
            return self
        # Found there by the next access, before this descriptor, which has no `__set__`.
        value: T = instance.__dict__.setdefault(self.name, self.function(instance))
        return value
