"""Flower's templates and ours in one loader; our tab is put into Flower's own navigation bar."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Final

from tornado import template

__all__ = ["FlowerLoader", "TemplateProblem"]

_FRAME: Final = "workflows_frame.html"
_PLAIN: Final = "workflows_plain_frame.html"
_BLOCKS: Final = ("title", "navbar", "container", "extra_scripts")
_MARK: Final = "{{ reverse_url('broker') }}"
_END: Final = "</li>"
_TAB: Final = """
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'workflows' %} active{% end %}"
            href="{{ reverse_url('workflows') }}"
            {% if active_tab == 'workflows' %}aria-current="page"{% end %}>Workflows</a>
        </li>"""


class TemplateProblem(Exception):  # noqa: N818 - never leaves this package
    """Flower's templates are not as they are expected."""


class FlowerLoader(template.Loader):
    """Loads Flower's templates, and ours, whose names begin with ``workflows_``.

    Args:
        flower_path: Folder of Flower's templates.
        has_frame: Pages stand in Flower's frame and the tab in its navigation bar; else in a frame of their own.
    """

    def __init__(self, flower_path: str, *, has_frame: bool = True) -> None:
        super().__init__(flower_path)
        self._has_frame = has_frame
        self._ours = resources.files(__package__) / "html"

    def check(self) -> None:
        """Compile every template of ours.

        Raises:
            TemplateProblem: Flower's templates have not got what ours need.
        """
        if self._has_frame:
            base = self._flower("base.html")
            missing = [name for name in _BLOCKS if f"block {name} " not in base]
            if missing:
                raise TemplateProblem(f"its base.html has no block {', '.join(missing)}")
            _with_tab(self._flower("navbar.html"))
        for file in self._ours.iterdir():
            if file.name.endswith(".html"):
                self.load(file.name)

    def _create_template(self, name: str) -> Any:
        if name.startswith("workflows_"):
            name_of_file = _PLAIN if name == _FRAME and not self._has_frame else name
            text = (self._ours / name_of_file).read_text("utf-8")
        else:
            text = self._flower(name)
            if name == "navbar.html" and self._has_frame:
                text = _with_tab(text)
        return template.Template(text, name=name, loader=self)

    def _flower(self, name: str) -> str:
        return Path(self.root, name).read_text("utf-8")


def _with_tab(text: str) -> str:
    """Flower's navigation bar with our tab behind its last one."""
    at = text.find(_MARK)
    end = text.find(_END, at) if at >= 0 else -1
    if end < 0:
        raise TemplateProblem("its navbar.html has no tab that ours could stand behind")
    end += len(_END)
    return text[:end] + _TAB + text[end:]
