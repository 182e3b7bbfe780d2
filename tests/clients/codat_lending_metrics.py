"""Codat's metrics through the official client of Lending: ADDRESS COMPANY CONNECTION."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from codat_lending import CodatLending
from codat_lending.models import errors, shared
from codat_lending.utils import BackoffStrategy, RetryConfig
from codat_figures import check, question

address, company, connection = sys.argv[1:]
# As configured, a refusal would be tried again for an hour.
retries = RetryConfig("backoff", BackoffStrategy(10, 20, 1.1, 100), False)


def client(header):
    security = shared.Security(auth_header=header)
    return CodatLending(security=security, server_url=address, retry_config=retries).sales


sales = client("Basic a2V5")
calls = {
    "lifetime_value": sales.metrics.get_lifetime_value,
    "customer_retention": sales.metrics.get_customer_retention,
    "orders": sales.reports.get_orders,
    "refunds": sales.reports.get_refunds,
    "revenue": sales.metrics.get_revenue,
}
for name, call in calls.items():
    for names in (True, False):
        asked = question(company, connection, shared.PeriodUnit.MONTH, names)
        check(name, call(request=asked), names)

asked = question(company, connection, shared.PeriodUnit.MONTH, True)
for header, change, status, text in (
    ("Basic bm9ib2R5", {}, 401, "Unauthorized"),
    ("Basic a2V5", {"company_id": "nobody"}, 404, "No company was found with ID nobody"),
    ("Basic a2V5", {"number_of_periods": 0}, 400, "Error processing request - not valid."),
):
    try:
        client(header).metrics.get_lifetime_value(request={**asked, **change})
    except errors.ErrorMessage as error:
        assert (error.data.status_code, error.data.error) == (status, text), error.data
        if status == 400:
            assert [item.item_id for item in error.data.validation.errors] == ["numberOfPeriods"]
    else:
        raise AssertionError(f"{status} expected")

print("all figures as expected")
