import { readFile } from 'node:fs/promises';
import type { Context } from '../../context.ts';
import { codeOf } from '../../error-code.ts';
import { PluginError } from '../../errors.ts';
import type { Metadata } from '../metadata.ts';
import { type CloudSettings, keyOf } from '../settings.ts';
import type { AccessKey } from './model.ts';

/** Where keys may come from, first to last. */
export interface CredentialOptions {
  /** From the settings. */
  readonly key?: AccessKey;
  /** A profile file, and which of its profiles. */
  readonly file?: { readonly path: string; readonly profile: string };
  /** For the role of the instance. */
  readonly metadata: Metadata;
}

interface Held {
  readonly key: AccessKey;
  /** Wall clock, epoch milliseconds; undefined: they last. */
  readonly expires?: number;
}

/** Roles get new keys at least five minutes before the old ones end. */
const REFRESH_MS = 5 * 60_000;
const ROLES = 'meta-data/iam/security-credentials';

const refusal = (reason: string, cause?: unknown): PluginError =>
  new PluginError('PROVIDER_AUTH', { provider: 'aws', reason }, { cause });

/**
 * The keys that calls are signed with: of the settings, of a profile file, or of the instance's role. A file is read
 * again, and a role asked again, when their keys end or are refused.
 */
export class Credentials {
  readonly #options: CredentialOptions;
  #held: Promise<Held> | undefined;

  constructor(options: CredentialOptions) {
    this.#options = options;
  }

  /** As the settings say. Errors: SETTING_INVALID for half a key. */
  static from(settings: CloudSettings, metadata: Metadata): Credentials {
    const { credentialsFile: path, credentialsProfile: profile } = settings;
    const key = keyOf(settings);
    return new Credentials({
      ...(key !== undefined && { key }),
      ...(path !== undefined && { file: { path, profile } }),
      metadata,
    });
  }

  /** Where the keys come from, for people. */
  get source(): string {
    const { key, file } = this.#options;
    if (key !== undefined) return 'the setting ACCESS_KEY_ID';
    return file === undefined ? "the instance's role" : `profile ${file.profile} of ${file.path}`;
  }

  /** Errors: PROVIDER_AUTH when there are none, PROVIDER_UNREACHABLE when the metadata service does not answer. */
  async get(c: Context): Promise<AccessKey> {
    const held = await this.#held?.catch(() => undefined);
    if (held !== undefined && (held.expires ?? Number.POSITIVE_INFINITY) - Date.now() > REFRESH_MS) return held.key;
    const asked = this.#load(c);
    this.#held = asked;
    try {
      return (await asked).key;
    } catch (error) {
      // Still good for some minutes: the next call tries again.
      if (held?.expires === undefined || held.expires <= Date.now()) throw error;
      this.#held = Promise.resolve(held);
      c.log.warn('the keys of AWS could not be refreshed yet', { error });
      return held.key;
    }
  }

  /** These were refused: they are not used again, if there are others. True when it is worth trying again. */
  async refused(key: AccessKey, c: Context): Promise<boolean> {
    if (this.#options.key !== undefined) return false;
    const held = await this.#held?.catch(() => undefined);
    if (held?.key.id === key.id) this.#held = undefined;
    return (await this.get(c)).id !== key.id;
  }

  #load(c: Context): Promise<Held> {
    const { key, file } = this.#options;
    if (key !== undefined) return Promise.resolve({ key });
    return file === undefined ? this.#ofRole(c) : this.#ofFile(file);
  }

  async #ofFile({ path, profile }: { readonly path: string; readonly profile: string }): Promise<Held> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      const code = codeOf(error) ?? 'it cannot be read';
      throw refusal(`CREDENTIALS_FILE ${path}: ${code}`, error);
    }
    const found = parseProfiles(text).get(profile);
    if (found === undefined) throw refusal(`CREDENTIALS_FILE ${path} has no profile ${profile}`);
    const [id, secret] = [found.get('aws_access_key_id'), found.get('aws_secret_access_key')];
    const token = found.get('aws_session_token');
    if (id === undefined || secret === undefined) {
      const other = ['role_arn', 'credential_process', 'sso_session', 'sso_start_url'].find((name) => found.has(name));
      const why =
        other === undefined ? 'no aws_access_key_id and aws_secret_access_key' : `${other}, which is not supported`;
      throw refusal(`profile ${profile} of CREDENTIALS_FILE ${path} has ${why}`);
    }
    return { key: { id, secret, ...(token !== undefined && { token }) } };
  }

  async #ofRole(c: Context): Promise<Held> {
    const { metadata } = this.#options;
    const [role] = await metadata.list(`${ROLES}/`, c);
    if (role === undefined) {
      throw refusal('the instance has no role, and neither ACCESS_KEY_ID nor CREDENTIALS_FILE is set');
    }
    const text = (await metadata.get(`${ROLES}/${role}`, c)) ?? '';
    const answer = parseRole(text);
    if (answer === undefined) throw refusal(`the metadata service has no keys for the role ${role}`);
    return answer;
  }
}

const parseRole = (text: string): Held | undefined => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Not JSON: no keys in it, as the caller says.
    return undefined;
  }
  const field = (name: string): string | undefined => {
    const value: unknown = typeof parsed === 'object' && parsed !== null ? Reflect.get(parsed, name) : undefined;
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const [id, secret, token] = [field('AccessKeyId'), field('SecretAccessKey'), field('Token')];
  if (id === undefined || secret === undefined) return undefined;
  const expires = Date.parse(field('Expiration') ?? '');
  return {
    key: { id, secret, ...(token !== undefined && { token }) },
    ...(!Number.isNaN(expires) && { expires }),
  };
};

/** `[name]` or `[profile name]`, then `key = value`; comments begin with # or ;. */
export const parseProfiles = (text: string): ReadonlyMap<string, ReadonlyMap<string, string>> => {
  const profiles = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const section = /^\s*\[\s*(?:profile\s+)?([^\]]+?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) {
      current = profiles.get(section) ?? new Map<string, string>();
      profiles.set(section, current);
      continue;
    }
    const pair = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (pair?.[1] !== undefined && pair[2] !== undefined && pair[2] !== '')
      current?.set(pair[1].toLowerCase(), pair[2]);
  }
  return profiles;
};
