"""What all parts of a layout have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Strict

Number = Annotated[float, Strict()]


class Model(BaseModel):
    """A part of a layout: no unknown keys, no infinity, and it cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy, with changed fields; these are checked, and what is computed from fields is computed again.

        Raises
        ------
        pydantic.ValidationError
            A field is unknown, or its value is not allowed.
        """
        kept = super().model_copy(deep=deep)
        if not update:
            return kept
        return type(self).model_validate({name: getattr(kept, name) for name in kept.model_fields_set} | dict(update))

    def copy(self, **options: Any) -> Self:
        """Copy as `model_copy` does; pydantic's deprecated method would keep what is computed from other fields."""
        return self.model_copy(**options)
