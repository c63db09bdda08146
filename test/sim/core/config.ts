/** What both clouds' simulators are configured with, and the parts that come of it. */
import type { Core } from './api.ts';
import { CallLog } from './call-log.ts';
import { type Clock, RealClock } from './clock.ts';
import { Credentials, type KeyStyle } from './credentials.ts';
import { Faults } from './faults.ts';
import type { ListenAt } from './http.ts';
import { Ids } from './ids.ts';
import type { RateTable } from './rates.ts';
import { RoutePublisher } from './routes.ts';

/** All of it but `clock` may come as JSON. */
export interface CoreConfig {
  /** The machine's time by default. */
  readonly clock?: Clock;
  /** Milliseconds until a write shows in reads; 0 by default. Can be changed later. */
  readonly lagMs?: number;
  /** Instead of the real cloud's limits: `{}` for none. */
  readonly rates?: RateTable;
  /** Instead of the real cloud's, by name. */
  readonly quotas?: Readonly<Record<string, number>>;
  /** Ids come out the same for the same seed. */
  readonly seed?: string;
  /** Where the API listens. */
  readonly api?: ListenAt;
  readonly metadata?: ListenAt;
  /** Where the control interface listens; a unix socket is reachable from every network namespace. */
  readonly control?: ListenAt;
}

/** The parts that both clouds are built on. */
export function makeCore(config: CoreConfig, style: KeyStyle): Core {
  const clock = config.clock ?? new RealClock();
  const ids = new Ids(config.seed);
  return {
    clock,
    ids,
    credentials: new Credentials(clock, ids, style),
    faults: new Faults(clock),
    calls: new CallLog(),
    routes: new RoutePublisher(),
  };
}
