import { readFile } from 'node:fs/promises';
import type { Context } from '../../context.ts';
import { codeOf } from '../../error-code.ts';
import { PluginError } from '../../errors.ts';
import type { Metadata } from '../metadata.ts';

export interface AccessKey {
  readonly id: string;
  readonly secret: string;
  /** Comes with a temporary key. */
  readonly token?: string;
  /** Epoch milliseconds; undefined: for ever. */
  readonly until?: number;
}

export interface CredentialSettings {
  readonly accessKeyId?: string | undefined;
  readonly accessKeySecret?: string | undefined;
  readonly securityToken?: string | undefined;
  /** The JSON of the command `aliyun`: its `config.json`. */
  readonly credentialsFile?: string | undefined;
  readonly credentialsProfile: string;
}

/** A key is replaced this long before its end, in milliseconds: longer than any call takes. */
const MARGIN_MS = 5 * 60_000;
/** A file may be replaced at any time; that often it is read again. */
const FILE_MS = 60_000;

const refused = (reason: string, cause?: unknown): PluginError =>
  new PluginError('PROVIDER_AUTH', { provider: 'aliyun', reason }, { cause });

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {};
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** JSON as a record. The parser's message quotes the text, so it is not shown. */
const parse = (text: string, what: string): Readonly<Record<string, unknown>> => {
  try {
    return recordOf(JSON.parse(text));
  } catch {
    throw refused(`${what} is not JSON`);
  }
};

/**
 * Access keys from the settings, else a profile file, else the RAM role of this host's instance. A role's keys are
 * replaced before they end, and at once when the API says that they have.
 */
export class Credentials {
  readonly #settings: CredentialSettings;
  readonly #metadata: Pick<Metadata, 'get' | 'list'>;
  readonly #now: () => number;
  #key: { readonly key: AccessKey; readonly asked: number } | undefined;
  #fetching: Promise<AccessKey> | undefined;
  #role: string | undefined;

  constructor(settings: CredentialSettings, metadata: Pick<Metadata, 'get' | 'list'>, now: () => number = Date.now) {
    this.#settings = settings;
    this.#metadata = metadata;
    this.#now = now;
  }

  /** The RAM role whose keys are used, once it is known. */
  get role(): string | undefined {
    return this.#role;
  }

  /** Where keys come from, for a status: no secret. */
  get source(): string {
    if (this.#settings.accessKeyId !== undefined) return 'settings';
    if (this.#settings.credentialsFile !== undefined) return `file, profile ${this.#settings.credentialsProfile}`;
    return this.#role === undefined ? 'role of the instance' : `role ${this.#role}`;
  }

  /** A key that is good for some minutes. Errors: PROVIDER_AUTH, SETTING_INVALID, PROVIDER_UNREACHABLE, DEADLINE. */
  async get(c: Context): Promise<AccessKey> {
    const known = this.#key;
    if (known !== undefined && this.#isFresh(known)) return known.key;
    const other = this.#fetching;
    this.#fetching ??= this.#fetch(c).finally(() => {
      this.#fetching = undefined;
    });
    try {
      const key = await this.#fetching;
      this.#key = { key, asked: this.#now() };
      return key;
    } catch (error) {
      // Who began it may only have run out of time.
      if (other !== undefined && !c.signal.aborted) return this.get(c);
      // The old one is still good for a while: the metadata service may be back by then.
      if (known === undefined || this.#now() >= (known.key.until ?? 0)) throw error;
      c.log.warn('new credentials could not be had; the old ones are still good', { error });
      return known.key;
    }
  }

  /** The API does not take this key any more. */
  reject(key: AccessKey): void {
    if (this.#key?.key.id === key.id) this.#key = undefined;
  }

  #isFresh({ key, asked }: { readonly key: AccessKey; readonly asked: number }): boolean {
    const { accessKeyId, credentialsFile } = this.#settings;
    if (accessKeyId === undefined && credentialsFile !== undefined && this.#now() - asked > FILE_MS) return false;
    return key.until === undefined || this.#now() < key.until - MARGIN_MS;
  }

  #fetch(c: Context): Promise<AccessKey> {
    const { accessKeyId, accessKeySecret, securityToken, credentialsFile } = this.#settings;
    if (accessKeyId === undefined) {
      return credentialsFile === undefined ? this.#fromRole(undefined, c) : this.#fromFile(credentialsFile, c);
    }
    if (accessKeySecret === undefined || accessKeySecret === '') {
      const reason = 'ACCESS_KEY_ID is set without it';
      const context = { option: 'ACCESS_KEY_SECRET', value: '', reason, allowed: 'the secret of that key' };
      return Promise.reject(new PluginError('SETTING_INVALID', context));
    }
    const token = securityToken === '' ? undefined : securityToken;
    return Promise.resolve({ id: accessKeyId, secret: accessKeySecret, ...(token !== undefined && { token }) });
  }

  async #fromFile(file: string, c: Context): Promise<AccessKey> {
    let text: string;
    try {
      text = await readFile(file, { encoding: 'utf8', signal: c.signal });
    } catch (error) {
      if (c.signal.aborted) throw c.signal.reason;
      const code = codeOf(error) ?? 'unknown';
      throw refused(`${file} cannot be read (${code})`);
    }
    const config = parse(text, file);
    const profiles = (Array.isArray(config.profiles) ? config.profiles : []).map(recordOf);
    const { credentialsProfile } = this.#settings;
    const named = (name: string | undefined) => profiles.find((one) => name !== undefined && one.name === name);
    // The command itself may have been told to use another one by default.
    const profile =
      named(credentialsProfile) ?? (credentialsProfile === 'default' ? named(textOf(config.current)) : undefined);
    if (profile === undefined) throw refused(`${file} has no profile ${credentialsProfile}`);
    const mode = textOf(profile.mode) ?? 'AK';
    if (mode === 'EcsRamRole') return this.#fromRole(textOf(profile.ram_role_name), c);
    const [id, secret, token] = [
      textOf(profile.access_key_id),
      textOf(profile.access_key_secret),
      textOf(profile.sts_token),
    ];
    if (mode !== 'AK' && mode !== 'StsToken') {
      throw refused(
        `profile ${credentialsProfile} of ${file} has mode ${mode}; AK, StsToken and EcsRamRole are known here`,
      );
    }
    if (id === undefined || secret === undefined || (mode === 'StsToken' && token === undefined)) {
      throw refused(`profile ${credentialsProfile} of ${file} is not complete`);
    }
    return { id, secret, ...(mode === 'StsToken' && token !== undefined && { token }) };
  }

  async #fromRole(name: string | undefined, c: Context): Promise<AccessKey> {
    const base = 'meta-data/ram/security-credentials/';
    const role = name ?? (await this.#metadata.list(base, c))[0];
    if (role === undefined) {
      throw refused('this instance has no RAM role: attach one, or set ACCESS_KEY_ID and ACCESS_KEY_SECRET');
    }
    const text = await this.#metadata.get(`${base}${role}`, c);
    if (text === undefined) throw refused(`this instance has no RAM role ${role}`);
    const found = parse(text, `what the metadata service says of role ${role}`);
    const [id, secret, token] = [textOf(found.AccessKeyId), textOf(found.AccessKeySecret), textOf(found.SecurityToken)];
    const until = Date.parse(textOf(found.Expiration) ?? '');
    if (
      found.Code !== 'Success' ||
      id === undefined ||
      secret === undefined ||
      token === undefined ||
      Number.isNaN(until)
    ) {
      throw refused(`the metadata service has no keys of role ${role} (${textOf(found.Code) ?? 'no code'})`);
    }
    this.#role = role;
    return { id, secret, token, until };
  }
}
