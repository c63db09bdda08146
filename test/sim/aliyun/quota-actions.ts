/** Quota Center 2020-05-10: where the limit of routes in a table is read. Usage is not told for limits of single resources. */
import { ApiError } from '../core/api.ts';
import type { Quotas } from '../core/quotas.ts';
import { type Actions, integer, type Parameters, records, tokened } from './parameters.ts';

type Json = Readonly<Record<string, unknown>>;

interface Quota {
  readonly id: string;
  readonly json: Json;
}

const quotas = (limits: Quotas, region: string): Quota[] =>
  Object.entries(limits.all())
    .filter(([id]) => id.startsWith('vpc_'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, limit]) => ({
      id,
      json: {
        ProductCode: 'vpc',
        QuotaActionCode: id,
        QuotaName: id,
        QuotaDescription: '',
        QuotaCategory: 'CommonQuota',
        QuotaType: 'normal',
        QuotaUnit: '',
        TotalQuota: limit,
        Adjustable: true,
        Consumable: false,
        Dimensions: { regionId: region },
      },
    }));

const ofVpc = (parameters: Parameters, region: string): void => {
  if (parameters.ProductCode !== 'vpc') {
    throw new ApiError('PRODUCT.NOT.SUPPORT', 'The specified product is not supported by Quota Center.', 404);
  }
  for (const { Key, Value } of records(parameters, 'Dimensions')) {
    if (Key === 'regionId' && Value === region) continue;
    throw new ApiError('QUOTA.DIMENSION.NOT.SUPPORT', 'The specified quota dimension is not supported.', 400);
  }
};

export function quotaActions(limits: Quotas, region: string): Actions {
  const dimensions = ['Dimensions.N.Key', 'Dimensions.N.Value'];
  return {
    ListProductQuotas: {
      required: ['ProductCode'],
      optional: ['QuotaActionCode', 'KeyWord', 'QuotaCategory', 'MaxResults', 'NextToken', ...dimensions],
      perform: (parameters) => {
        ofVpc(parameters, region);
        const { QuotaActionCode: code = '', KeyWord: word = '' } = parameters;
        const all = quotas(limits, region).filter(({ id }) => (code === '' || code === id) && id.includes(word));
        const size = integer(parameters, 'MaxResults', { min: 1, max: 100, usual: 30 });
        const bad = () => new ApiError('ILLEGAL.NEXT.TOKEN', 'The specified NextToken is not valid.');
        const { page, next } = tokened(parameters, all, { id: ({ id }) => id, size, bad });
        return { TotalCount: all.length, MaxResults: size, NextToken: next, Quotas: page.map(({ json }) => json) };
      },
    },
    GetProductQuota: {
      required: ['ProductCode', 'QuotaActionCode'],
      optional: dimensions,
      perform: (parameters) => {
        ofVpc(parameters, region);
        const found = quotas(limits, region).find(({ id }) => id === parameters.QuotaActionCode);
        if (found === undefined) throw new ApiError('QUOTA.NOT.EXIST', 'The specified quota does not exist.', 404);
        return { Quota: found.json };
      },
    },
  };
}
