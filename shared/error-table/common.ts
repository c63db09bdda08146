import type { ErrorEntry } from './entry.ts';

/** What can go wrong in either plugin. In alphabetical order. */
export const COMMON_ERRORS = {
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
  EXEC_FAILED: {
    text: '{command} failed[ with exit code {status}][: {reason}].',
    fix: "See the plugin's log for its whole output.",
    retry: 'never',
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
  METHOD_UNKNOWN: {
    text: 'This plugin has no method {method}.',
    fix: 'Nothing to do: Docker carries on without it.',
    retry: 'never',
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
  OPTION_MISSING: {
    text: '{where} lacks the option {option}[: {reason}].',
    fix: 'Give it[, for example -o {option}={example}][, or set it for all with docker plugin set {plugin} {setting}=VALUE].',
    retry: 'never',
  },
  OPTION_UNKNOWN: {
    text: 'There is no {where} "{option}"[; did you mean "{nearest}"?].',
    fix: 'Known: {known}.',
    retry: 'never',
  },
  SETTING_INVALID: {
    text: '{option}={value} is not a valid setting[: {reason}].',
    fix: 'Allowed: {allowed}[, for example: docker plugin set {plugin} {option}={example}].',
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
} as const satisfies Record<string, ErrorEntry>;
