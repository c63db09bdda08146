/** `/_sim/…`: how a program in another process or network namespace works a simulator. JSON in, JSON out. */
import type { Core } from './api.ts';
import type { CallFilter } from './call-log.ts';
import type { KeyRequest } from './credentials.ts';
import type { FaultRule } from './faults.ts';
import type { HttpHandler, HttpReply, HttpRequest } from './http.ts';

/** A vendor's own verbs (`vpc`, `instance`, `terminate` …), called as POST /_sim/do/<verb> with one JSON argument. */
export type Verbs = Readonly<Record<string, (argument: never) => unknown>>;

const json = (value: unknown, status = 200): HttpReply => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: `${JSON.stringify(value ?? null, null, 2)}\n`,
});

const filterOf = (query: URLSearchParams): CallFilter => {
  const { after, ...rest } = Object.fromEntries(query);
  return { ...rest, ...(after === undefined ? {} : { after: Number(after) }) };
};

const LONGEST_WAIT_MS = 30_000;

/** Where to look when one has forgotten the paths. */
const help = {
  'GET /_sim/info': 'endpoints and environment',
  'GET /_sim/state': 'everything that exists',
  'GET /_sim/routes?after=VERSION': 'routes as a router should have them; with `after` it answers when they change',
  'GET /_sim/calls?action=&caller=&code=&after=': 'the log of calls',
  'DELETE /_sim/calls': 'empties it',
  'POST /_sim/faults': 'a FaultRule, such as {"action": "CreateRoute", "fault": {"kind": "lose-reply"}}',
  'DELETE /_sim/faults': 'takes all away; /_sim/faults/ID one',
  'POST /_sim/keys': '{"name"?, "actions"?: ["ec2:Describe*"], "ttlMs"?}: a new access key',
  'POST /_sim/clock': '{"advanceMs": 60000}',
  'POST /_sim/do/VERB': 'calls a verb of the simulator; the verbs are under `verbs`',
};

/** Parts of a simulator that the control interface shows. */
export interface Controlled {
  readonly core: Pick<Core, 'calls' | 'clock' | 'credentials' | 'routes'> & {
    readonly faults: Pick<Core['faults'], 'add' | 'clear' | 'remove'>;
  };
  readonly verbs: Verbs;
  info(): unknown;
  state(): unknown;
}

const route = async (sim: Controlled, request: HttpRequest): Promise<HttpReply> => {
  const { core } = sim;
  const [, , what = '', name = ''] = request.path.split('/');
  const body = (): unknown => (request.body.length === 0 ? {} : JSON.parse(request.body.toString('utf8')));
  switch (`${request.method} ${what}`) {
    case 'GET ':
      return json({ ...help, verbs: Object.keys(sim.verbs) });
    case 'GET info':
      return json(sim.info());
    case 'GET state':
      return json(sim.state());
    case 'GET routes': {
      const after = request.query.get('after');
      if (after !== null) await core.routes.changed(Number(after), LONGEST_WAIT_MS);
      return json(core.routes.current);
    }
    case 'GET calls':
      return json(core.calls.list(filterOf(request.query)));
    case 'DELETE calls':
      return json(core.calls.clear());
    case 'POST faults':
      return json({ id: core.faults.add(body() as FaultRule).id });
    case 'DELETE faults':
      return json(name === '' ? core.faults.clear() : core.faults.remove(Number(name)));
    case 'POST keys':
      return json(core.credentials.key(body() as KeyRequest));
    case 'POST clock':
      return json(core.clock.advance((body() as { advanceMs: number }).advanceMs));
    case 'POST do': {
      const verb = sim.verbs[name];
      if (verb === undefined) return json({ error: `no verb ${name}; there are ${Object.keys(sim.verbs)}` }, 404);
      const result = await verb(body() as never);
      await core.routes.settled();
      return json(result);
    }
    default:
      return json({ error: `nothing at ${request.method} ${request.path}`, help }, 404);
  }
};

/** The handler to `listen` with. What a verb refuses is a 400 with its sentence. */
export function controlHandler(sim: Controlled): HttpHandler {
  return async (request) => {
    try {
      return await route(sim, request);
    } catch (error) {
      return json({ error: error instanceof Error ? error.message : String(error) }, 400);
    }
  };
}
