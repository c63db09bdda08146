/**
 * Every error that a user of Drayage can see: one table of codes, texts and fixes.
 *
 * In a template `{name}` is filled from the error's context. A part in square brackets is left out when a name in it
 * has no value: `{prefix}[ in {table}]`. Every text and every fix is one whole sentence (the code and the request id
 * are added around them).
 *
 * `retry` says what a caller inside the plugin may do: `never` (asking again changes nothing), `backoff` (again, later,
 * with jitter), `after` (only once what the fix says has been done or has come about).
 */
import { scrub } from './scrub.ts';

export type RetryClass = 'never' | 'backoff' | 'after';

interface ErrorEntry {
  readonly text: string;
  readonly fix: string;
  readonly retry: RetryClass;
}

/** Keep in alphabetical order. */
export const ERRORS = {
  ADDRESS_ELSEWHERE: {
    text: '{address} belongs to {prefix}, the prefix of host {owner}, not of this host.',
    fix: 'Choose an address of this host[, from {own}], or start the container on {owner}.',
    retry: 'never',
  },
  ADDRESS_HELD: {
    text: '{address} is held by host {owner}[, {reason}].',
    fix: 'Stop its container on {owner} and repeat the command: the address then follows. If {owner} is lost for good, terminate it.',
    retry: 'after',
  },
  ADDRESS_INVALID: {
    text: '"{input}" is not an IP address[: {reason}].',
    fix: 'Write it like 10.64.3.9 or fd64:6472:7961::9.',
    retry: 'never',
  },
  ADDRESS_IN_USE: {
    text: '{address} is already in use[ by {owner}].',
    fix: 'Choose another address, or leave --ip out to get a free one.',
    retry: 'after',
  },
  ADDRESS_OUTSIDE: {
    text: '{address} is not in {prefix}.',
    fix: 'Choose an address in {prefix}, or leave --ip out to get a free one.',
    retry: 'never',
  },
  BACKEND_AUTH: {
    text: 'The storage provider {provider} refused the credentials[: {reason}].',
    fix: "Correct the plugin's credentials with docker plugin set, then enable it again.",
    retry: 'after',
  },
  BACKEND_PERMISSION: {
    text: 'The storage provider {provider} lacks the permission {permission}[ ({reason})].',
    fix: "Give this host's role that permission, then repeat the command.",
    retry: 'after',
  },
  BACKEND_REFUSED: {
    text: 'The storage provider {provider} refused {what}[: {reason}].',
    fix: 'Correct what it names, then repeat the command.',
    retry: 'after',
  },
  BACKEND_THROTTLED: {
    text: 'The storage provider {provider} limits the rate of calls[: {reason}].',
    fix: 'Repeat the command in a minute: other users of the same account may be using up the limit.',
    retry: 'backoff',
  },
  BACKEND_UNREACHABLE: {
    text: 'The storage provider {provider} cannot be reached[: {reason}].',
    fix: 'Check that this host can reach it, then repeat the command; volumes in use go on meanwhile.',
    retry: 'backoff',
  },
  BAD_REQUEST: {
    text: 'The request[ {method}] could not be understood[: {reason}].',
    fix: 'Docker sends it again by itself; if not, repeat the command.',
    retry: 'never',
  },
  BODY_TOO_LARGE: {
    text: 'The request[ {method}] is larger than {limit} bytes.',
    fix: 'Use fewer or shorter options.',
    retry: 'never',
  },
  CIDR_INVALID: {
    text: '"{input}" is not an IP prefix[: {reason}].',
    fix: 'Write it like [{suggestion}, or like ]10.64.3.0/24 or fd64:6472:7961::/64.',
    retry: 'never',
  },
  DEADLINE: {
    text: '{what} took longer than {seconds} s and goes on in the background.',
    fix: 'Try again: what is under way is joined, or is done by then.',
    retry: 'backoff',
  },
  DRY_RUN: {
    text: 'Dry run: would {what}, and did nothing.',
    fix: 'Set DRY_RUN=false on the plugin to let it act.',
    retry: 'never',
  },
  ENDPOINT_UNKNOWN: {
    text: 'Endpoint {endpoint} is not known here.',
    fix: 'Disconnect the container from the network and connect it again.',
    retry: 'never',
  },
  EXEC_FAILED: {
    text: '{command} failed[ with exit code {status}][: {reason}].',
    fix: "See the plugin's log for its whole output.",
    retry: 'never',
  },
  FIREWALL: {
    text: 'The firewall refused {what}[: {reason}].',
    fix: 'Check that nftables or iptables works on this host (nft list ruleset), then try again.',
    retry: 'backoff',
  },
  INTERNAL: {
    text: 'Something went wrong inside the plugin[ ({reason})].',
    fix: 'Search the log of the Docker daemon for this request id.',
    retry: 'never',
  },
  KERNEL: {
    text: 'The kernel refused {what}: {errno}[ ({reason})].',
    fix: 'If it happens again, look at the log of the Docker daemon for this request id.',
    retry: 'never',
  },
  LINK_FAILED: {
    text: 'The network link[ {link}] of endpoint {endpoint} could not be made[: {reason}].',
    fix: 'Start the container again; if it fails again, look at the log of the Docker daemon for this request id.',
    retry: 'backoff',
  },
  METHOD_UNKNOWN: {
    text: 'This plugin has no method {method}.',
    fix: 'Nothing to do: Docker carries on without it.',
    retry: 'never',
  },
  NETWORK_BUSY: {
    text: 'Network {network} is still {phase}.',
    fix: 'Repeat the command in a few seconds; if that does not help, remove the network and create it again.',
    retry: 'backoff',
  },
  NETWORK_IN_USE: {
    text: 'Network {network} still has {count} running container(s).',
    fix: 'Stop them or disconnect them first; docker network rm then removes it in the usual way.',
    retry: 'after',
  },
  NETWORK_UNKNOWN: {
    text: 'Network {network} is not known to this plugin.',
    fix: 'Remove the network with docker network rm and create it again.',
    retry: 'never',
  },
  NODE_NAME_TAKEN: {
    text: 'The name {name} of this host is also the name of another one[, which has the address {address}].',
    fix: 'Give each host a name of its own: docker plugin set drayage/network NODE_NAME=another.',
    retry: 'after',
  },
  NOT_READY: {
    text: 'The plugin is still starting[: {reason}].',
    fix: 'Try again in a few seconds.',
    retry: 'backoff',
  },
  OPTION_INVALID: {
    text: '{where} {option}={value} is not valid[: {reason}].',
    fix: 'Allowed: {allowed}[, for example {option}={example}].',
    retry: 'never',
  },
  OPTION_UNKNOWN: {
    text: 'There is no {where} "{option}"[; did you mean "{nearest}"?].',
    fix: 'Known: {known}.',
    retry: 'never',
  },
  POOL_EXHAUSTED: {
    text: '{pool} has no free {kind} left[: {reason}].',
    fix: 'Remove what is not needed, or use a larger pool.',
    retry: 'after',
  },
  POOL_INVALID: {
    text: 'Pool {pool} cannot be used[: {reason}].',
    fix: 'Choose another pool, such as 10.64.0.0/12.',
    retry: 'never',
  },
  PORTS_EXHAUSTED: {
    text: 'No port is free[ in {range}][ on {address}].',
    fix: 'Stop a container that publishes ports, or name another port with -p.',
    retry: 'after',
  },
  PORT_TAKEN: {
    text: 'Port {port}[/{protocol}][ on {address}] is already used by {owner}.',
    fix: 'Stop {owner} or publish another port with -p.',
    retry: 'after',
  },
  PREFIX_IS_LOCAL: {
    text: "{prefix} overlaps {address}, which is {what} and not the containers' to use.",
    fix: 'Choose another --subnet or pool.',
    retry: 'never',
  },
  PREFIX_OVERLAP: {
    text: '{prefix} overlaps {other}[, which belongs to {owner}].',
    fix: 'Choose a --subnet or pool that overlaps nothing.',
    retry: 'never',
  },
  PREFIX_OWNED: {
    text: '{prefix} is owned by host {owner}[, which holds {other}][ ({state})].',
    fix: 'Choose another --subnet, or remove the network on {owner} first.',
    retry: 'after',
  },
  PROVIDER_AUTH: {
    text: 'The route provider {provider} refused the credentials[: {reason}].',
    fix: "Correct the plugin's credentials with docker plugin set, then enable it again.",
    retry: 'after',
  },
  PROVIDER_PERMISSION: {
    text: 'The route provider {provider} lacks the permission {permission}[ ({reason})].',
    fix: "Attach the policy that `drayage policy {provider}` prints to this host's role[, {role}], then repeat the command.",
    retry: 'after',
  },
  PROVIDER_REFUSED: {
    text: 'The route provider {provider} refused {what}[: {reason}].',
    fix: 'Correct what it names, then repeat the command; `drayage doctor` looks at what the provider needs.',
    retry: 'after',
  },
  PROVIDER_THROTTLED: {
    text: 'The route provider {provider} limits the rate of calls[: {reason}].',
    fix: 'Repeat the command in a minute: other users of the same account may be using up the limit.',
    retry: 'backoff',
  },
  PROVIDER_UNREACHABLE: {
    text: 'The route provider {provider} cannot be reached[: {reason}].',
    fix: 'Check that it runs and that this host can reach it; running containers are not touched meanwhile.',
    retry: 'backoff',
  },
  QUOTA_EXCEEDED: {
    text: 'Route table {table} is full: it has {used} of at most {limit} routes.',
    fix: 'Remove routes that nothing needs, use larger prefixes (POOL, PREFIX), or have the quota raised[: {quota}].',
    retry: 'after',
  },
  ROUTE_CONFLICT: {
    text: '{prefix} in {table} already points to {target}, not this host.',
    fix: 'Delete that route or choose another --subnet.',
    retry: 'after',
  },
  ROUTE_TABLE_MISSING: {
    text: 'There is no route table {table}[ in {place}].',
    fix: 'Correct ROUTE_TABLES and REGION with docker plugin set, or leave ROUTE_TABLES empty to have the tables found.',
    retry: 'after',
  },
  SETTING_INVALID: {
    text: '{option}={value} is not a valid setting[: {reason}].',
    fix: 'Allowed: {allowed}[, for example: docker plugin set drayage/network {option}={example}].',
    retry: 'never',
  },
  SOCKET_TAKEN: {
    text: 'The socket {path} cannot be used[: {reason}].',
    fix: 'Stop the process that listens there, or choose another path.',
    retry: 'after',
  },
  STATE_CORRUPT: {
    text: 'The state file {file} is damaged[: {reason}].',
    fix: 'Restore the state files from a backup, or empty that folder to start anew[; the damaged file is kept as {kept}][. {recovery}].',
    retry: 'never',
  },
  STATE_LOCKED: {
    text: 'The state folder {folder} is in use by another process[ ({owner})].',
    fix: 'Stop that process, or give this one a folder of its own.',
    retry: 'after',
  },
  STATE_LOST: {
    text: 'No record knows of {containers} on this host ({links}): the state was lost, and what runs is left as it is.',
    fix: 'Put a copy of the state back, or remove these containers and their networks (docker network rm) and repeat the command.',
    retry: 'after',
  },
  STATE_VERSION: {
    text: 'The state file {file} has version {found}, but this plugin knows versions up to {known}.',
    fix: 'Install the newer plugin again, or move the file away to start with an empty state.',
    retry: 'never',
  },
  STATE_WRITE: {
    text: 'The state could not be written to {file}[: {reason}].',
    fix: 'Make room and check the permissions in that folder; nothing was changed.',
    retry: 'backoff',
  },
  STILL_WORKING: {
    text: 'Still working: {what} takes longer than {seconds} s[, because {reason}], and goes on in the background.',
    fix: 'Repeat the command to join it.',
    retry: 'backoff',
  },
  UPLINK_MISSING: {
    text: 'This host has no uplink: {reason}.',
    fix: 'Give the host a default route, or name an interface that it has with docker plugin set drayage/network UPLINK=eth0.',
    retry: 'after',
  },
  VOLUME_BUSY: {
    text: 'Volume {volume} is in use on host {holder}[, {reason}].',
    fix: 'Stop its containers on {holder} and repeat the command.',
    retry: 'after',
  },
  VOLUME_EXISTS: {
    text: 'Volume {volume} exists already with other options: {differences}.',
    fix: 'Leave the options out or give the same ones, choose another name, or remove the volume first.',
    retry: 'never',
  },
  VOLUME_IN_USE: {
    text: 'Volume {volume} is in use on this host[ by {users}].',
    fix: 'Remove its containers, then repeat the command.',
    retry: 'after',
  },
  VOLUME_NAME: {
    text: '"{volume}" cannot be the name of a volume: {reason}.',
    fix: 'Use 2 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or a digit.',
    retry: 'never',
  },
  VOLUME_NOT_MOUNTED: {
    text: 'Volume {volume} was not found where it should be mounted[: {reason}].',
    fix: 'Repeat the command; if it fails again, look at the log of the Docker daemon for this request id.',
    retry: 'backoff',
  },
  VOLUME_REMOVING: {
    text: 'Volume {volume} is being removed[; so far: {reason}].',
    fix: 'Repeat docker volume rm {volume} to see how far it is.',
    retry: 'backoff',
  },
  VOLUME_TYPE: {
    text: 'Volume {volume} cannot be created: {reason}.',
    fix: 'Choose one of the types that this host offers: {known}.',
    retry: 'never',
  },
  VOLUME_UNCONFIRMED: {
    text: 'Volume {volume} does not exist in the cluster; Docker got to know its name while the cluster could not be asked.',
    fix: 'Remove the name with docker volume rm {volume}, then create the volume with docker volume create.',
    retry: 'never',
  },
  VOLUME_UNKNOWN: {
    text: 'Volume {volume} is not known to this plugin.',
    fix: 'List the volumes with docker volume ls.',
    retry: 'never',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;
export type ErrorContext = Record<string, string | number | undefined>;

const LONGEST_VALUE = 300;

/** One line of limited length and without secrets or control characters, so that no value can break out of a sentence. */
const clean = (value: string | number): string => {
  // Cut before the patterns see it: a value may be a megabyte of a request.
  const line = scrub(String(value).slice(0, 10 * LONGEST_VALUE))
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length > LONGEST_VALUE ? `${line.slice(0, LONGEST_VALUE)}…` : line;
};

const fill = (template: string, context: ErrorContext): string =>
  template
    .split(/(\[[^\]]*\])/)
    .map((part) => {
      const optional = part.startsWith('[');
      let missing = false;
      const text = (optional ? part.slice(1, -1) : part).replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = context[name];
        missing ||= value === undefined || value === '';
        return value === undefined ? 'unknown' : clean(value) || '""';
      });
      return optional && missing ? '' : text;
    })
    .join('')
    // A value that ends in a mark of its own must not give two.
    .replace(/([.?!]"?)\.(?=\s|$)/g, '$1')
    .trim();

/** An error whose text may be shown to a user. The cause is for the log only. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly code: ErrorCode;
  readonly context: Readonly<ErrorContext>;
  readonly retry: RetryClass;
  readonly requestId: string | undefined;

  constructor(
    code: ErrorCode,
    context: ErrorContext = {},
    options: { cause?: unknown; requestId?: string | undefined } = {},
  ) {
    super(
      `${code}: ${fill(ERRORS[code].text, context)}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.context = context;
    this.retry = ERRORS[code].retry;
    this.requestId = options.requestId;
  }

  /** What the user can do about it: one sentence. */
  get fix(): string {
    return fill(ERRORS[this.code].fix, this.context);
  }

  /** `CODE: what happened. What to do. [req 7f3a]` */
  toUserText(requestId: string | undefined = this.requestId): string {
    return `${this.message} ${this.fix}${requestId === undefined ? '' : ` [req ${requestId}]`}`;
  }
}

/** Anything that was thrown, as a PluginError. Foreign errors become INTERNAL: their text stays in the log (as cause). */
export const asPluginError = (thrown: unknown): PluginError => {
  if (thrown instanceof PluginError) return thrown;
  if (thrown instanceof Error) {
    // Node wraps the reason of an AbortSignal; what aborted is what happened.
    if (thrown.name === 'AbortError' && thrown.cause instanceof PluginError) return thrown.cause;
    const code: unknown = 'code' in thrown ? thrown.code : undefined;
    // Codes such as ENOSPC are safe to show and often all that one needs to know.
    const reason = typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : undefined;
    return new PluginError('INTERNAL', { reason }, { cause: thrown });
  }
  return new PluginError('INTERNAL', {}, { cause: thrown });
};
