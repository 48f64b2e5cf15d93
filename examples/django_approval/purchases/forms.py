"""Forms."""

from __future__ import annotations

from django import forms

from purchases.models import Purchase


class PurchaseForm(forms.ModelForm):
    """Ask for something."""

    class Meta:
        """What is asked for, and what it costs."""

        model = Purchase
        fields = ["what", "amount"]


class DecisionForm(forms.Form):
    """Say yes or no."""

    approved = forms.TypedChoiceField(choices=[("yes", "yes"), ("no", "no")], coerce=lambda text: text == "yes")
    note = forms.CharField(max_length=200, required=False)
