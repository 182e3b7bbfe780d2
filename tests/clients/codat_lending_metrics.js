// Codat's metrics through the official client of Lending: ADDRESS COMPANY CONNECTION.
const assert = require('node:assert/strict');
const { CodatLending } = require('@codat/lending');
const { PeriodUnit } = require('@codat/lending/dist/sdk/models/shared');

const [address, companyId, connectionId] = process.argv.slice(2);

// March and February 2024 of the shop of tests/it/codat.rs.
const expected = {
  lifetime_value: [[420], [0]],
  customer_retention: [[1, 2, 3, 100, 33.33], [0, 1, 1, 0, 0]],
  orders: [[6, 180, 30], [1, 75, 75]],
  refunds: [[0, 0, 0], [1, 15, 1]],
  revenue: [[180, 100], [90, 0]],
};

const client = (authHeader) =>
  new CodatLending({ security: { authHeader }, serverURL: address }).sales;

const asked = (includeDisplayNames) => ({
  companyId,
  connectionId,
  includeDisplayNames,
  numberOfPeriods: 2,
  periodLength: 1,
  periodUnit: PeriodUnit.Month,
  reportDate: '2024-03-31',
});

async function main() {
  const { metrics, reports } = client('Basic a2V5');
  const calls = {
    lifetime_value: (question) => metrics.getLifetimeValue(question),
    customer_retention: (question) => metrics.getCustomerRetention(question),
    orders: (question) => reports.getOrders(question),
    refunds: (question) => reports.getRefunds(question),
    revenue: (question) => metrics.getRevenue(question),
  };
  for (const [name, call] of Object.entries(calls)) {
    for (const names of [true, false]) {
      const { statusCode, commerceReport } = await call(asked(names));
      assert.equal(statusCode, 200);
      assert.equal(commerceReport.reportInfo.name, name);
      const figures = commerceReport.reportData.map((period) =>
        period.components.map((component) => component.measures[0].value));
      assert.deepEqual(figures, expected[name]);
      const shown = commerceReport.reportData.map((period) => period.itemDisplayName);
      assert.deepEqual(shown, names ? ['Period 0', 'Period 1'] : [undefined, undefined]);
    }
  }

  const nobody = await client('Basic bm9ib2R5').metrics.getRevenue(asked(true));
  assert.equal(nobody.statusCode, 401);
  assert.equal(nobody.errorMessage.error, 'Unauthorized');
  const wrong = await metrics.getRevenue({ ...asked(true), reportDate: 'soon' });
  assert.equal(wrong.statusCode, 400);
  assert.deepEqual(wrong.errorMessage.validation.errors.map((one) => one.itemId), ['reportDate']);

  console.log('all figures as expected');
}

main();
