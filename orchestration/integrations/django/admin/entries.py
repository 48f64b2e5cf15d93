"""The outbox in the admin: what waits, what was sent, what is dead, and why."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponseBadRequest
from django.utils.html import format_html

from orchestration.core.export import as_json
from orchestration.errors import OrchestrationError
from orchestration.integrations.django.calls import unpack_message, unpack_start
from orchestration.integrations.django.conf import read_settings
from orchestration.integrations.django.models import OutboxEntry

__all__ = ["OutboxAdmin"]

_MOST_SHOWN = 64 * 1024
_MOST_DIGITS = 18
_MOST_WORDS = 20
_LONGEST_SEARCH = 1000


class OutboxAdmin(admin.ModelAdmin):
    """Entries are read; dead ones can be sent again or deleted."""

    list_display = ("id", "state", "kind", "workflow_id", "what", "error_line", "attempts", "created_at")
    list_filter = ("state", "kind", "created_at")
    search_fields = ("workflow_id", "what", "request_id")
    ordering = ("-id",)
    actions = ("send_again",)
    show_full_result_count = False
    fields = (
        "kind", "state", "namespace", "workflow_id", "what", "content", "attempts", "error", "created_at",
        "next_try_at", "sent_at", "request_id",
    )  # fmt: skip
    readonly_fields = fields

    class Media:
        """With the styles of the pages about runs."""

        css: ClassVar = {"all": ["orchestration/runs.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Entries are made by transactions alone."""
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are never changed."""
        del request, obj
        return False

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Who may have dead entries sent again."""
        return bool(request.user.has_perm("orchestration.resend_outboxentry"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """Nothing has so many words: a database may not even read the question."""
        if len(search_term.split()) > _MOST_WORDS or len(search_term) > _LONGEST_SEARCH:
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="error")
    def error_line(self, entry: OutboxEntry) -> str:
        """The beginning of what is wrong."""
        return str(entry.error)[:120]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What is in an entry is for those who may see the data of runs."""
        del obj
        may_see = request.user.has_perm("orchestration.view_run_data")
        return [name for name in self.fields if may_see or name not in ("content", "error")]

    def get_list_display(self, request: HttpRequest) -> Any:
        """Errors show data, here as on the page of an entry."""
        names = super().get_list_display(request)
        may_see = request.user.has_perm("orchestration.view_run_data")
        return [name for name in names if may_see or name != "error_line"]

    @admin.display(description="content")
    def content(self, entry: OutboxEntry) -> str:
        """What is asked for, as JSON."""
        try:
            if entry.kind == OutboxEntry.Kind.START:
                from orchestration.core import payload

                wanted = unpack_start(entry.payload)
                shown: Any = {"type": wanted.workflow_type, "args": payload.decode(wanted.args)}
            else:
                topic, values = unpack_message(entry.payload)
                shown = {"topic": topic, "values": values}
        except OrchestrationError as error:
            return f"cannot be read: {error}"
        found: str = format_html("<pre class=\"orc-data\">{}</pre>", as_json(shown, indent=2)[:_MOST_SHOWN])
        return found

    @admin.action(description="Send again", permissions=["resend"])
    def send_again(self, request: HttpRequest, queryset: Any) -> None:
        """Give dead entries all their attempts once more; a worker sends them."""
        count = queryset.filter(state=OutboxEntry.State.DEAD).update(
            state=OutboxEntry.State.PENDING, attempts=0, next_try_at=None, error=""
        )
        self.message_user(request, f"{count} dead entries are sent again.", messages.SUCCESS)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The list; it is that of the default database, and says so when another one needs a look."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS for key in chosen):
            return HttpResponseBadRequest("An entry is chosen by its number.", content_type="text/plain")
        for using in read_settings()[0].outbox_databases:
            if using != "default":
                dead = OutboxEntry.objects.using(using).filter(state=OutboxEntry.State.DEAD)[:100].count()
                if dead:
                    messages.warning(request, f"The outbox of database {using!r} has dead entries: {dead}.")
        return super().changelist_view(request, extra_context)
