import { LOG_LEVELS } from '../shared/log.ts';
import { option, type Parsed } from '../shared/options.ts';

/** Settings of the volume plugin; each is an environment variable of its configuration. */
export const SETTINGS = {
  logLevel: option.enum(LOG_LEVELS, { default: 'info', help: "How much goes to the Docker daemon's log." }),
} as const;

export type Settings = Parsed<typeof SETTINGS>;
