import { policyDocument as aliyun } from '../../shared/cloud/aliyun/policy.ts';
import { policyDocument as aws } from '../../shared/cloud/aws/policy.ts';
import { CommandError, exit } from './client.ts';

/** What a policy may be narrowed to. */
export interface Scope {
  readonly region?: string | undefined;
  readonly account?: string | undefined;
  readonly vpc?: string | undefined;
  readonly tables?: string | undefined;
}

const given = <T extends object>(scope: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(scope).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };

const refuse = (option: string, cloud: string): never => {
  throw new CommandError(`--${option} does not go with policy ${cloud}.`, exit.usage);
};

/**
 * The least-privilege policy document for a cloud, as its console and command take it.
 * @throws CommandError when there is no such cloud, or the scope has something that its policies cannot be narrowed to.
 */
export function policy(cloud: string, { region, account, vpc, tables }: Scope = {}): Readonly<Record<string, unknown>> {
  if (cloud === 'aws') {
    if (tables !== undefined) refuse('tables', cloud);
    return { ...aws(given({ region, account, vpc })) };
  }
  if (cloud === 'aliyun') {
    if (vpc !== undefined) refuse('vpc', cloud);
    return { ...aliyun(given({ region, account, tables: tables?.split(',') })) };
  }
  throw new CommandError(`There is no policy for "${cloud}"; there are aws and aliyun.`, exit.usage);
}
