"""POST /v0/alerts: notifications of Alertmanager reach the operator; a 5xx means that it should try again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from samply_operator import errors
from samply_operator.api import app
from samply_operator.control.messages import AlertsReply, AlertsRequest
from samply_operator.model.alert import Alert, AlertOutcome
from samply_operator.model.manifest import TriggeredBy
from support.fake_operator import KEY

from .conftest import Service, make_id

URL = "/v0/alerts"
LABELS = {"alertname": "SlowStep", "pipeline": "orders"}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "Steps are slow"},
    "startsAt": "2026-11-28T22:00:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph?g0.expr=1",
    "fingerprint": "c1f2d3a4b5c6d7e8",
}
NOTIFICATION: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="SlowStep"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "samply",
    "groupLabels": {"alertname": "SlowStep"},
    "commonLabels": LABELS,
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [ALERT],
}


async def post(service: Service, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await service.ask("POST", URL, data, Content_Type="application/json")


async def test_alerts_go_to_the_operator_with_the_senders_token(service: Service) -> None:
    outcome = AlertOutcome(ALERT["fingerprint"], "Fired", "feldera", "slow", ("slow-1-0",))
    service.operator.take_alerts = lambda request: AlertsReply((outcome,))
    answer = await post(service, NOTIFICATION)
    assert answer.status == 200
    assert answer.read_json() == {
        "outcomes": [
            {
                "fingerprint": ALERT["fingerprint"], "state": "Fired", "namespace": "feldera", "trigger": "slow",
                "profiles": ["slow-1-0"], "reason": "", "message": "", "comparisons": [],
            }
        ],
        "truncated_alerts": 0,
    }  # fmt: skip
    sent = Alert(ALERT["fingerprint"], ALERT["startsAt"], "firing", LABELS, ALERT["generatorURL"])
    assert service.operator.alerts == [AlertsRequest((sent,))]
    assert service.operator.bearers == [KEY]


async def test_truncation_is_reported_and_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    answer = await post(service, NOTIFICATION | {"truncatedAlerts": 7})
    assert answer.read_json()["truncated_alerts"] == 7
    assert "left out 7 alerts of receiver 'samply'" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b"\xff", {"version": "3", "alerts": []}, {"version": "4"},
        NOTIFICATION | {"alerts": [{"labels": {}}]}, NOTIFICATION | {"alerts": [ALERT | {"status": "pending"}]},
        NOTIFICATION | {"truncatedAlerts": -1},
    ],
    ids=lambda body: str(body)[:40],
)  # fmt: skip
async def test_an_invalid_notification_is_a_permanent_400(service: Service, body: Any) -> None:
    details = (await post(service, body)).assert_error(400, "InvalidParam")
    assert details["parameter"] == "body"
    assert service.operator.alerts == []


async def test_a_body_that_is_too_large_is_refused(service: Service) -> None:
    answer = await post(service, b" " * (app.MAX_BODY_BYTES + 1))
    assert "max_alerts" in answer.assert_error(400, "InvalidParam")["value"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Forbidden("No.", details={"verb": "create", "namespace": ""}), 403),
        (errors.OperatorUnavailable("It has only begun."), 503),
        (errors.KubeUnavailable("The API server is away."), 503),
    ],
)
async def test_retryable_errors_are_5xx(service: Service, error: errors.SamplyOperatorError, status: int) -> None:
    def refuse(request: AlertsRequest) -> AlertsReply:
        raise error

    service.operator.take_alerts = refuse
    (await post(service, NOTIFICATION)).assert_error(status, error.code)


async def test_a_notification_is_retryable_while_the_operator_is_unavailable(service: Service) -> None:
    await service.operator.go_away()
    assert (await post(service, NOTIFICATION)).status == 503


async def test_the_history_says_which_trigger_asked_and_links_the_alert(service: Service) -> None:
    link = ALERT["generatorURL"]
    service.put(1, trigger=TriggeredBy("slow", "Alert SlowStep", link, "alert"))
    await service.settle()
    facts = (await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(1)}")).read_json()
    assert facts["trigger"] == {"name": "slow", "cause": "Alert SlowStep", "link": link, "when": "alert"}
