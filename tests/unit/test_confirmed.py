"""Producers that wait for the broker's confirmation."""

from __future__ import annotations

import pytest
from celery import Celery
from kombu.transport.memory import Channel

from orchestration.tasks.confirmed import REFUSED, ConfirmedProducers


@pytest.mark.parametrize(("error", "is_answer"), [(TimeoutError, False), (ConnectionError, False), (REFUSED[0], True)])
def test_a_channel_whose_answer_has_not_come_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], is_answer: bool
) -> None:
    """A confirmation that comes late would be taken as that of the next message, which may be lost."""
    producers = ConfirmedProducers(Celery(broker="memory://", set_as_current=False))

    def fail(*_: object, **__: object) -> None:
        raise error

    with producers.acquire() as producer:
        first = producer.channel
        with monkeypatch.context() as patched:
            patched.setattr(Channel, "basic_publish", fail)
            with pytest.raises(error):
                producer.publish({}, routing_key="confirmed")
    with producers.acquire() as producer:
        assert (producer.channel is first) == is_answer
        producer.publish({}, routing_key="confirmed")
    producers.close()
