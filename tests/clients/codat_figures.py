"""What the shop of tests/it/codat.rs has in March and February 2024, by metric and period."""

from decimal import Decimal

EXPECTED = {
    "lifetime_value": [["420.00"], ["0.00"]],
    "customer_retention": [["1", "2", "3", "100.00", "33.33"], ["0", "1", "1", "0.00", "0.00"]],
    "orders": [["6", "180.00", "30.00"], ["1", "75.00", "75.00"]],
    "refunds": [["0", "0.00", "0.00"], ["1", "15.00", "1.00"]],
    "revenue": [["180.00", "100.00"], ["90.00", "0.00"]],
}


def question(company, connection, unit, names):
    """The parameters of a call about both months."""
    return {
        "company_id": company,
        "connection_id": connection,
        "number_of_periods": 2,
        "period_length": 1,
        "period_unit": unit,
        "report_date": "2024-03-31",
        "include_display_names": names,
    }


def check(name, report, names):
    """Compares a report as the client's models hold it."""
    assert report.report_info["name"] == name, report.report_info
    assert report.errors is None
    assert [dimension.type for dimension in report.dimensions] == ["datespan", "string"]
    assert [item.index for item in report.dimensions[0].items] == [0, 1]
    figures = []
    for place, period in enumerate(report.report_data):
        assert (period.dimension, period.item) == (0, place)
        assert period.item_display_name == (f"Period {place}" if names else None)
        measures = [component.measures for component in period.components]
        assert all(len(one) == 1 for one in measures)
        values = [one[0].value for one in measures]
        assert all(isinstance(value, Decimal) for value in values)
        figures.append(values)
        if names:
            shown = [report.measures[one[0].index].display_name for one in measures]
            assert shown == [one[0].measure_display_name for one in measures]
    expected = [[Decimal(value) for value in values] for values in EXPECTED[name]]
    assert figures == expected, (name, figures)
