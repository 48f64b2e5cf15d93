"""Pages: everybody's purchases, one of them, the decision."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from orchestration.errors import WorkflowNotFoundError
from orchestration.integrations.django import async_client, signal, start_workflow
from purchases.forms import DecisionForm, PurchaseForm
from purchases.models import Purchase


@require_http_methods(["GET", "POST"])
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """All purchases, and a form for a new one."""
    form = PurchaseForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            purchase = form.save(commit=False)
            purchase.asked_by = request.user
            purchase.save()
            start_workflow(
                "purchases:approve",
                {"purchase": purchase.pk, "remind_after": settings.APPROVAL_REMIND},
                id=purchase.workflow_id,
                search={"amount": purchase.amount},
            )
        return redirect("purchase", purchase.pk)
    return render(request, "purchases/index.html", {"form": form, "purchases": Purchase.objects.all()[:100]})


@require_GET
@login_required
def purchase_page(request: HttpRequest, pk: int) -> HttpResponse:
    """One purchase, and the decision for those who may take it."""
    found = get_object_or_404(Purchase.objects.select_related("asked_by", "decided_by"), pk=pk)
    return render(request, "purchases/purchase.html", {"purchase": found})


@require_POST
@login_required
@permission_required("purchases.decide_purchase", raise_exception=True)
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Save the decision and tell the workflow, both or neither; once, whoever is first."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return HttpResponse("say yes or no", status=400, content_type="text/plain")
    approved, note = form.cleaned_data["approved"], form.cleaned_data["note"]
    with transaction.atomic():
        first = Purchase.objects.filter(pk=pk, state=Purchase.State.WAITING).update(
            state=Purchase.State.DECIDED, decided_by=request.user, note=note
        )
        if first:
            by = request.user.get_username()
            signal(f"purchase-{pk}", "decision", {"approved": approved, "by": by})
    return redirect("purchase", pk)


@require_GET
async def status(request: HttpRequest, pk: int) -> HttpResponse:
    """Where a purchase and its workflow stand, for the page that shows it; no thread waits meanwhile."""
    user = await request.auser()
    if not user.is_authenticated:
        return JsonResponse({"error": "log in first"}, status=401)
    found = await sync_to_async(get_object_or_404)(Purchase, pk=pk)
    try:
        run = await async_client().get_workflow(found.workflow_id).describe()
    except WorkflowNotFoundError:  # its start is in the outbox still
        return JsonResponse({"state": found.state, "workflow": "starting", "waits_for": []})
    return JsonResponse({
        "state": found.state, "workflow": run.status, "waits_for": [place.waits_for for place in run.places],
    })  # fmt: skip
