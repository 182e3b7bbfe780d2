// ChartMogul's own client against the worked data set; the arguments are address and key.
const assert = require('node:assert');
const ChartMogul = require('chartmogul-node');

const [address, key] = process.argv.slice(2);

function configured(secret) {
  const config = new ChartMogul.Config(secret, address);
  config.retries = 0;
  return config;
}

async function main() {
  const config = configured(key);
  assert.deepStrictEqual(await ChartMogul.Ping.ping(config), { data: 'pong!' });
  const asked = { 'start-date': '2024-01-01', 'end-date': '2024-04-30', interval: 'month' };
  const ltv = await ChartMogul.Metrics.ltv(config, asked);
  assert.deepStrictEqual(ltv, {
    entries: [
      { date: '2024-01-31', ltv: 0, 'percentage-change': 0 },
      { date: '2024-02-29', ltv: 12000, 'percentage-change': 0 },
      { date: '2024-03-31', ltv: 13095, 'percentage-change': 9.13 },
      { date: '2024-04-30', ltv: 18652, 'percentage-change': 42.44 },
    ],
    summary: { current: 18652, previous: 13095, 'percentage-change': 42.44 },
  });
  const column = async (method, name) => {
    const answer = await ChartMogul.Metrics[method](config, asked);
    return answer.entries.map((entry) => entry[name]);
  };
  assert.deepStrictEqual(await column('mrr', 'mrr'), [13000, 12000, 12500, 9500]);
  assert.deepStrictEqual(await column('mrr', 'mrr-churn'), [-1000, -2500, 0, -3000]);
  assert.deepStrictEqual(await column('arr', 'arr'), [156000, 144000, 150000, 114000]);
  assert.deepStrictEqual(await column('arpa', 'arpa'), [1181, 1200, 1250, 1187]);
  assert.deepStrictEqual(await column('asp', 'asp'), [2000, 500, 0, 0]);
  assert.deepStrictEqual(await column('customerCount', 'customers'), [11, 10, 10, 8]);
  const churn = await column('customerChurnRate', 'customer-churn-rate');
  assert.deepStrictEqual(churn, [10, 9.09, 0, 20]);
  const lost = await column('mrrChurnRate', 'mrr-churn-rate');
  assert.deepStrictEqual(lost, [10, 11.54, -4.17, 24]);
  assert.deepStrictEqual(await column('all', 'ltv'), [0, 12000, 13095, 18652]);
  const silver = { ...asked, plans: 'Silver Monthly', geo: 'US,UK' };
  const named = await ChartMogul.Metrics.mrr(config, silver);
  assert.strictEqual(named.entries[3].mrr, 9500);
  await assert.rejects(ChartMogul.Metrics.ltv(configured('nobody'), asked), (error) => {
    assert.strictEqual(error.status, 401);
    return true;
  });
  console.log('ok');
}

main();
