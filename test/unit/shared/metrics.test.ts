import t from 'tap';
import { listenMetrics, Registry } from '../../../shared/metrics.ts';

t.test('the text is what Prometheus reads', async (t) => {
  const registry = new Registry();
  const calls = registry.counter('drayage_calls_total', 'Calls.');
  calls.inc({ method: 'Join', status: 200 });
  calls.inc({ status: 200, method: 'Join' }, 2);
  calls.inc({ method: 'a"b\\c\nd', status: 500 });
  const gauge = registry.gauge('drayage_endpoints', 'Endpoints.\nHere.');
  gauge.set(Number.POSITIVE_INFINITY);
  registry.onCollect(() => gauge.set(7));
  const seconds = registry.histogram('drayage_seconds', 'Time.', [0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 5]) seconds.observe(value, { m: 'x' });
  t.equal(
    registry.render(),
    `# HELP drayage_calls_total Calls.
# TYPE drayage_calls_total counter
drayage_calls_total{method="Join",status="200"} 3
drayage_calls_total{method="a\\"b\\\\c\\nd",status="500"} 1
# HELP drayage_endpoints Endpoints.\\nHere.
# TYPE drayage_endpoints gauge
drayage_endpoints 7
# HELP drayage_seconds Time.
# TYPE drayage_seconds histogram
drayage_seconds_bucket{m="x",le="0.1"} 2
drayage_seconds_bucket{m="x",le="1"} 3
drayage_seconds_bucket{m="x",le="+Inf"} 4
drayage_seconds_sum{m="x"} 5.65
drayage_seconds_count{m="x"} 4
`,
  );
  t.throws(() => registry.counter('drayage_seconds', 'again'), TypeError);
  t.throws(() => registry.counter('bad name', 'x'), TypeError);
  t.throws(() => calls.inc({}, -1), RangeError);
});

t.test('it is served over HTTP, and a taken port is named', async (t) => {
  const registry = new Registry();
  registry.gauge('up', 'Up.').set(1);
  const listener = await listenMetrics(registry, { host: '127.0.0.1', port: 0 });
  t.teardown(() => listener.close());
  const at = `http://127.0.0.1:${listener.port}`;
  const response = await fetch(`${at}/metrics`);
  t.match(response.headers.get('content-type'), 'text/plain; version=0.0.4');
  t.match(await response.text(), 'up 1');
  t.equal((await fetch(`${at}/healthz`)).status, 200);
  t.equal((await fetch(`${at}/else`)).status, 404);
  t.equal((await fetch(`${at}/metrics`, { method: 'POST' })).status, 405);
  await t.rejects(listenMetrics(registry, { host: '127.0.0.1', port: listener.port }), {
    code: 'SOCKET_TAKEN',
    message: /EADDRINUSE/,
  });
});
