// Zenovay's answers, read and then compiled against its interface: ADDRESS WEBSITE EMPTY_WEBSITE.
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const [address, website, emptyWebsite] = process.argv.slice(2);
const tsc = path.join(process.env.NODE_PATH, 'typescript', 'bin', 'tsc');

async function ask(id, granularity) {
  const url = `${address}/api/external/v1/revenue/${id}/ltv?range=90d&granularity=${granularity}`;
  const response = await fetch(url, { headers: { 'X-API-Key': 'pro' } });
  assert.equal(response.status, 200);
  return response.json();
}

// Compiles a file for each value; by file whether the compiler has nothing to say of it.
function compile(values) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'zenovay-'));
  try {
    fs.copyFileSync(path.join(__dirname, 'zenovay.ts'), path.join(folder, 'zenovay.ts'));
    const names = values.map((value, place) => {
      const text = `import type { LtvAnswer } from './zenovay';
export const answer: LtvAnswer = ${JSON.stringify(value)};
`;
      fs.writeFileSync(path.join(folder, `answer${place}.ts`), text);
      return `answer${place}.ts`;
    });
    const options = ['--strict', '--noEmit', '--pretty', 'false'];
    const run = spawnSync(process.execPath, [tsc, ...options, ...names], { cwd: folder });
    const told = run.stdout.toString();
    assert.equal(run.status === 0, told === '', `${run.status} ${told} ${run.stderr}`);
    return names.map((name) => !told.split('\n').some((line) => line.startsWith(`${name}(`)));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

// The answer with one field spoilt, for every field that it has.
function spoilt(value, spoil) {
  if (value === null || typeof value !== 'object') return [];
  return Object.keys(value).flatMap((key) => {
    const copy = () => (Array.isArray(value) ? [...value] : { ...value });
    const here = copy();
    spoil(here, key);
    const within = spoilt(value[key], spoil).map((inner) => {
      const outer = copy();
      outer[key] = inner;
      return outer;
    });
    return [here, ...within];
  });
}

async function main() {
  const monthly = await ask(website, 'monthly');
  const row = (date, customers, values) => ({
    cohort_date: date,
    customers,
    periods: values.map((value, period) => ({ period, cumulative_revenue_per_customer: value })),
  });
  assert.deepEqual(monthly.data, {
    cohorts: [row('2026-01-01', 2, [20, 22.5, 27.5]), row('2026-02-01', 1, [7, 14])],
    summary: { average_ltv_30d: 15.67, average_ltv_90d: 27.5 },
  });
  const empty = await ask(emptyWebsite, 'monthly');
  assert.deepEqual(empty.data, {
    cohorts: [],
    summary: { average_ltv_30d: 0, average_ltv_90d: 0 },
  });
  const answers = [monthly, await ask(website, 'weekly'), empty];
  assert.deepEqual(compile(answers), [true, true, true]);

  // The compiler would not let pass a null, nor an object that lacks a field.
  const nulls = spoilt(monthly, (object, key) => { object[key] = null; });
  const missing = spoilt(monthly, (object, key) => {
    if (Array.isArray(object)) object[key] = {};
    else delete object[key];
  });
  assert.ok(nulls.length > 20 && missing.length === nulls.length);
  assert.deepEqual(compile([...nulls, ...missing]).filter((passes) => passes), []);
  console.log('ok');
}

main();
