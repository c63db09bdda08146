// As packages are that know no modules.
const os = require('node:os');

module.exports = { hostname: os.hostname };
