// Prints the versions of the installed clients as they are pinned.
const path = require('node:path');

for (const name of ['@codat/lending', 'chartmogul-node', 'typescript']) {
  const { version } = require(path.join(process.env.NODE_PATH, name, 'package.json'));
  console.log(`"${name}": "${version}"`);
}
