"""Codat's metrics through the official client of Assess: ADDRESS COMPANY CONNECTION."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from codat_assess import CodatAssess
from codat_assess.models import errors, shared
from codat_assess.utils import BackoffStrategy, RetryConfig
from codat_figures import check, question

address, company, connection = sys.argv[1:]
# As configured, a refusal would be tried again for an hour.
retries = RetryConfig("backoff", BackoffStrategy(10, 20, 1.1, 100), False)


def client(header):
    return CodatAssess(auth_header=header, server_url=address, retry_config=retries).reports


reports = client("Basic a2V5")
calls = {
    "lifetime_value": reports.get_commerce_lifetime_value_metrics,
    "customer_retention": reports.get_commerce_customer_retention_metrics,
    "orders": reports.get_commerce_orders_metrics,
    "refunds": reports.get_commerce_refunds_metrics,
    "revenue": reports.get_commerce_revenue_metrics,
}
for name, call in calls.items():
    for names in (True, False):
        asked = question(company, connection, shared.PeriodUnit.MONTH, names)
        check(name, call(request=asked), names)

asked = question(company, connection, shared.PeriodUnit.MONTH, True)
for header, change, status, text in (
    ("Basic bm9ib2R5", {}, 401, "Unauthorized"),
    ("Basic a2V5", {"connection_id": "nothing"}, 404, "Data connection nothing not found"),
    ("Basic a2V5", {"report_date": "soon"}, 400, "Error processing request - not valid."),
):
    try:
        client(header).get_commerce_orders_metrics(request={**asked, **change})
    except errors.ErrorMessage as error:
        assert (error.data.status_code, error.data.error) == (status, text), error.data
        if status == 400:
            assert [item.item_id for item in error.data.validation.errors] == ["reportDate"]
    else:
        raise AssertionError(f"{status} expected")

print("all figures as expected")
