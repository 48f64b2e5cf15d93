"""``manage.py make_users``: the people of the example."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Makes ann (asks), max (decides) and root (admin), all with the password ``approval``."""

    help = "Make the users of the example: ann asks, max decides, root looks after the admin."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make those that are not there."""
        del args, options
        for name in ("ann", "max", "root"):
            if User.objects.filter(username=name).exists():
                continue
            make = User.objects.create_superuser if name == "root" else User.objects.create_user
            user = make(name, password="approval")
            if name == "max":
                user.user_permissions.add(Permission.objects.get(codename="decide_purchase"))
            self.stdout.write(f"made {name}, password: approval")
