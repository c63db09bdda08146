/** Access keys and what they may do. */
import { randomBytes } from 'node:crypto';
import type { Clock } from './clock.ts';
import type { Ids } from './ids.ts';

/** A user or role as the account knows it. */
export interface Principal {
  readonly name: string;
  /** Actions that are allowed: names, beginnings followed by `*`, or `*`. With or without the service: `ec2:CreateRoute`. */
  actions: readonly string[];
  /** A policy in the cloud's own language, on top of that: for simulators that can read it. */
  readonly policy?: object;
}

/** One access key. */
export interface Credential {
  readonly id: string;
  readonly secret: string;
  readonly principal: Principal;
  /** Set for temporary credentials: must come with every request. */
  readonly token?: string;
  /** By the simulator's clock; undefined: never. */
  readonly expires?: number;
}

export interface KeyRequest {
  readonly name?: string;
  /** Everything by default. */
  readonly actions?: readonly string[];
  /** Temporary, with a session token, for so many milliseconds. */
  readonly ttlMs?: number;
}

/** How a vendor's access keys begin. */
export interface KeyStyle {
  /** Such as AKIA and LTAI. */
  readonly lasting: string;
  /** Such as ASIA and STS. */
  readonly temporary: string;
}

const covers = (pattern: string, action: string): boolean => {
  const wanted = pattern.toLowerCase();
  const names = [action.toLowerCase(), action.toLowerCase().replace(/^.*:/, '')];
  return names.some((name) => (wanted.endsWith('*') ? name.startsWith(wanted.slice(0, -1)) : name === wanted));
};

export class Credentials {
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #style: KeyStyle;
  readonly #keys = new Map<string, Credential>();

  constructor(clock: Clock, ids: Ids, style: KeyStyle) {
    this.#clock = clock;
    this.#ids = ids;
    this.#style = style;
  }

  /** A new user with one access key. */
  key(request: KeyRequest = {}): Credential {
    const principal = { name: request.name ?? `user-${this.#keys.size + 1}`, actions: request.actions ?? ['*'] };
    return request.ttlMs === undefined ? this.#add({ principal }) : this.session(principal, request.ttlMs);
  }

  /** A key that somebody has chosen, of a user who may do everything. */
  add(key: { readonly id: string; readonly secret: string; readonly token?: string }): Credential {
    const credential = { ...key, principal: { name: 'owner', actions: ['*'] } };
    this.#keys.set(key.id, credential);
    return credential;
  }

  /** Temporary credentials for a role. */
  session(principal: Principal, ttlMs: number): Credential {
    return this.#add({ principal, token: randomBytes(96).toString('base64'), expires: this.#clock.now() + ttlMs });
  }

  find(id: string): Credential | undefined {
    return this.#keys.get(id);
  }

  all(): Credential[] {
    return [...this.#keys.values()];
  }

  /** True once the time of a temporary credential is over. */
  expired(credential: Credential): boolean {
    return (credential.expires ?? Number.POSITIVE_INFINITY) <= this.#clock.now();
  }

  /** Ends a credential's time now. The caller's object is old afterwards: `find` has the new one. */
  expire(id: string): void {
    const found = this.#keys.get(id);
    if (found !== undefined) this.#keys.set(id, { ...found, expires: this.#clock.now() });
  }

  /** The key is unknown from now on. */
  remove(id: string): void {
    this.#keys.delete(id);
  }

  /** `action` with its service, such as `ec2:CreateRoute`. */
  allows({ principal }: Credential, action: string): boolean {
    return principal.actions.some((pattern) => covers(pattern, action));
  }

  #add(rest: Omit<Credential, 'id' | 'secret'>): Credential {
    const prefix = rest.token === undefined ? this.#style.lasting : this.#style.temporary;
    const id = `${prefix}${this.#ids.upper(16)}`;
    const credential = { id, secret: randomBytes(30).toString('base64'), ...rest };
    this.#keys.set(id, credential);
    return credential;
  }
}
