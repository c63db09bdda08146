import type { ErrorEntry } from './entry.ts';

/** What can go wrong with networks, addresses, routes and ports. In alphabetical order. */
export const NETWORK_ERRORS = {
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
  CIDR_INVALID: {
    text: '"{input}" is not an IP prefix[: {reason}].',
    fix: 'Write it like [{suggestion}, or like ]10.64.3.0/24 or fd64:6472:7961::/64.',
    retry: 'never',
  },
  ENDPOINT_UNKNOWN: {
    text: 'Endpoint {endpoint} is not known here.',
    fix: 'Disconnect the container from the network and connect it again.',
    retry: 'never',
  },
  FIREWALL: {
    text: 'The firewall refused {what}[: {reason}].',
    fix: 'Check that nftables or iptables works on this host (nft list ruleset), then try again.',
    retry: 'backoff',
  },
  LINK_FAILED: {
    text: 'The network link[ {link}] of endpoint {endpoint} could not be made[: {reason}].',
    fix: 'Start the container again; if it fails again, look at the log of the Docker daemon for this request id.',
    retry: 'backoff',
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
  UPLINK_MISSING: {
    text: 'This host has no uplink: {reason}.',
    fix: 'Give the host a default route, or name an interface that it has with docker plugin set drayage/network UPLINK=eth0.',
    retry: 'after',
  },
} as const satisfies Record<string, ErrorEntry>;
