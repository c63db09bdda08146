import { LOG_LEVELS } from '../shared/log.ts';
import { option, type Parsed } from '../shared/options.ts';

/** Settings of the volume plugin; each is an environment variable of its configuration. */
export const SETTINGS = {
  defaultType: option.text({ default: 'block', help: 'The type of volumes that are created without `-o type=`.' }),
  refreshInterval: option.duration({
    default: 60_000,
    min: 5_000,
    max: 3_600_000,
    help: "How often the cluster's list of volumes is read again.",
  }),
  logLevel: option.enum(LOG_LEVELS, { default: 'info', help: "How much goes to the Docker daemon's log." }),
} as const;

export type Settings = Parsed<typeof SETTINGS>;
