"""Label Studio as the rest of Labelwheel sees it: one client, its provisioning, its start.

Importing this costs no SDK: that is loaded at the first request.
"""

from __future__ import annotations

from labelwheel.labelstudio.client import LabelStudio, Project
from labelwheel.labelstudio.inspection import Fault, inspect_setup

__all__ = ["Fault", "LabelStudio", "Project", "inspect_setup"]
