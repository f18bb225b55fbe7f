"""What every group of settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings that belong together; a name that is none of them is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
