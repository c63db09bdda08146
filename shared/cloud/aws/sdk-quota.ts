import type { EC2Client } from '@aws-sdk/client-ec2';
import type { SendOptions } from './model.ts';
import { read } from './sdk-config.ts';

const QUOTA = { ServiceCode: 'vpc', QuotaCode: 'L-93826ACB' };

/** Service Quotas speaks JSON, and its own client would cost another half a megabyte: signed and sent with EC2's. */
export const getServiceQuota = async (client: EC2Client, { signal }: SendOptions): Promise<number> => {
  const region = await client.config.region();
  const custom = client.config.endpoint === undefined ? undefined : await client.config.endpoint();
  const hostname = custom?.hostname ?? `servicequotas.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  const port = custom?.port;
  const body = JSON.stringify(QUOTA);
  const signingName = 'servicequotas';
  const signer = await client.config.signer({ name: 'sigv4', signingName, signingRegion: region, properties: {} });
  const request = await signer.sign(
    {
      method: 'POST',
      protocol: custom?.protocol ?? 'https:',
      hostname,
      ...(port !== undefined && { port }),
      path: '/',
      query: {},
      headers: {
        host: port === undefined ? hostname : `${hostname}:${port}`,
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': 'ServiceQuotasV20190624.GetServiceQuota',
      },
      body,
    },
    { signingService: signingName, signingRegion: region },
  );
  const { response } = await client.config.requestHandler.handle(request as never, { abortSignal: signal });
  const chunks: Buffer[] = [];
  for await (const chunk of response.body) chunks.push(Buffer.from(chunk));
  const answer: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}');
  const value = read(read(answer, 'Quota'), 'Value');
  if (response.statusCode === 200 && typeof value === 'number') return value;
  const type = String(read(answer, '__type') ?? 'UnknownError');
  const failure = new Error(
    String(read(answer, 'message') ?? read(answer, 'Message') ?? `status ${response.statusCode}`),
  );
  throw Object.assign(failure, {
    name: type.slice(type.lastIndexOf('#') + 1),
    $metadata: { httpStatusCode: response.statusCode },
  });
};
