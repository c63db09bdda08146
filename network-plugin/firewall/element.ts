import { parseAddress } from '../../shared/cidr.ts';
import { PluginError } from '../../shared/errors.ts';
import type { PublishedPort } from './policy.ts';

/** Maps and sets whose elements come and go with published ports, while every rule stays as it is. */
export const PORT_SETS = {
  /** (protocol, port) on every address of the host → (address, port) of the container. */
  any4: 'map',
  any6: 'map',
  /** (host address, protocol, port) → (address, port). */
  one4: 'map',
  one6: 'map',
  /** (address, address) of containers that may reach themselves through a published port. */
  self4: 'set',
  self6: 'set',
} as const;

export type PortSet = keyof typeof PORT_SETS;

/** One element as nft reads and writes it; `value` is absent in a set. */
export interface Element {
  readonly set: PortSet;
  readonly key: string;
  readonly value?: string;
}

const PROTOCOLS: ReadonlySet<number> = new Set([6, 17, 132]);

const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536;

/**
 * The elements of one published port. Everything that becomes part of a rule is parsed and written anew, never copied.
 * Errors: FIREWALL when the record is not a port, ADDRESS_INVALID.
 */
export const elementsOf = (port: PublishedPort): readonly Element[] => {
  const refuse = (reason: string): PluginError =>
    new PluginError('FIREWALL', { what: `port ${port.hostPort} of endpoint ${port.endpoint.slice(0, 12)}`, reason });
  if (!PROTOCOLS.has(port.protocol)) throw refuse(`protocol ${port.protocol} has no ports`);
  if (!isPort(port.hostPort) || !isPort(port.targetPort)) throw refuse('a port is a number from 1 to 65535');
  const target = parseAddress(port.targetIp);
  const { family } = target;
  const value = `${target.text} . ${port.targetPort}`;
  const self: Element = { set: `self${family}`, key: `${target.text} . ${target.text}` };
  const service = `${port.protocol} . ${port.hostPort}`;
  if (port.hostIp === '') return [{ set: `any${family}`, key: service, value }, self];
  const host = parseAddress(port.hostIp);
  if (host.family !== family) throw refuse(`${host.text} and ${target.text} are not of one family`);
  return [{ set: `one${family}`, key: `${host.text} . ${service}`, value }, self];
};

/** `key : value`, or the key alone. */
export const elementText = (element: Element): string =>
  element.value === undefined ? element.key : `${element.key} : ${element.value}`;

/** Names an element's place: two elements of one place exclude each other. */
export const placeOf = (element: Element): string => `${element.set} ${element.key}`;

/**
 * The elements of many ports, one per place. Errors: FIREWALL when two ports want one place for different targets.
 */
export const elementsOfAll = (ports: readonly PublishedPort[]): Map<string, Element> => {
  const elements = new Map<string, Element>();
  for (const port of ports) {
    for (const element of elementsOf(port)) {
      const place = placeOf(element);
      const other = elements.get(place);
      if (other !== undefined && other.value !== element.value) {
        const reason = `it leads to ${other.value?.replace(' . ', ' port ')} already`;
        throw new PluginError('FIREWALL', {
          what: `port ${port.hostPort} of endpoint ${port.endpoint.slice(0, 12)}`,
          reason,
        });
      }
      elements.set(place, element);
    }
  }
  return elements;
};
