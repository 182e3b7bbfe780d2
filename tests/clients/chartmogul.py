"""ChartMogul's own client against the worked data set; the arguments are address and key."""

import sys
from datetime import date

import chartmogul

address, key = sys.argv[1:]
config = chartmogul.Config(key)
config.uri = f"{address}/v1"

assert chartmogul.Ping.ping(config).get().data == "pong!"

asked = {"start_date": "2024-01-01", "end_date": "2024-04-30"}
months = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)]


def metric(name, **more):
    return getattr(chartmogul.Metrics, name)(config, **asked, **more).get()


def column(answer, name):
    assert [entry.date for entry in answer.entries] == months
    return [getattr(entry, name) for entry in answer.entries]


ltv = metric("ltv")
assert column(ltv, "ltv") == [0, 12000, 13095, 18652], ltv
assert column(ltv, "percentage_change") == [0.0, 0.0, 9.13, 42.44]
summary = ltv.summary
assert (summary.current, summary.previous) == (18652, 13095)
assert summary.percentage_change == 42.44

mrr = metric("mrr", interval="month")
assert column(mrr, "mrr") == [13000, 12000, 12500, 9500]
assert column(mrr, "mrr_new_business") == [4000, 500, 0, 0]
assert column(mrr, "mrr_churn") == [-1000, -2500, 0, -3000]
assert column(mrr, "mrr_reactivation") == [0, 1000, 0, 0]
assert column(mrr, "mrr_expansion") == [0, 0, 500, 0]
assert column(mrr, "mrr_contraction") == [0, 0, 0, 0]

assert column(metric("arr", interval="month"), "arr") == [156000, 144000, 150000, 114000]
assert column(metric("arpa", interval="month"), "arpa") == [1181, 1200, 1250, 1187]
assert column(metric("asp", interval="month"), "asp") == [2000, 500, 0, 0]
count = metric("customer_count", interval="month")
assert column(count, "customers") == [11, 10, 10, 8]
churn = metric("customer_churn_rate")
assert column(churn, "customer_churn_rate") == [10.0, 9.09, 0.0, 20.0]
assert column(metric("mrr_churn_rate"), "mrr_churn_rate") == [10.0, 11.54, -4.17, 24.0]

every = metric("all", interval="month")
assert column(every, "ltv") == [0, 12000, 13095, 18652]
assert column(every, "customers") == [11, 10, 10, 8]
assert every.summary.current_mrr == 9500
assert every.summary.current_ltv == 18652

# Forms of values that only some clients write: a plus sign for the blank.
named = metric("mrr", interval="month", plans="Silver Monthly", geo="US,UK")
assert column(named, "mrr") == [13000, 12000, 12500, 9500]
assert column(metric("mrr", interval="month", plans="Gold"), "mrr") == [0, 0, 0, 0]

bad = chartmogul.Config("nobody")
bad.uri = config.uri
try:
    chartmogul.Metrics.ltv(bad, **asked).get()
except chartmogul.APIError as error:
    assert "No valid API key provided" in str(error), error
else:
    raise AssertionError("a wrong key was let in")
print("ok")
