import { parseAddress } from '../../shared/cidr.ts';
import { PluginError } from '../../shared/errors.ts';
import { type FirewallModel, type PublishedPort, type RoamingAddress, verdictsOf } from './policy.ts';

/** Maps and sets whose elements come and go with ports and addresses, while every rule stays as it is. */
export const ELEMENT_SETS = {
  /** (protocol, port) on every address of the host → (address, port) of the container. */
  any4: 'map',
  any6: 'map',
  /** (host address, protocol, port) → (address, port). */
  one4: 'map',
  one6: 'map',
  /** (address, address) of containers that may reach themselves through a published port. */
  self4: 'set',
  self6: 'set',
  /** Roaming address → the chain of its network, for what it receives, sends, and sends out of the host. */
  roam_to4: 'map',
  roam_to6: 'map',
  roam_from4: 'map',
  roam_from6: 'map',
  roam_leave4: 'map',
  roam_leave6: 'map',
  /** Roaming addresses of internal networks. */
  roam_internal4: 'set',
  roam_internal6: 'set',
} as const;

export type ElementSet = keyof typeof ELEMENT_SETS;

/** One element as nft reads and writes it; `value` is absent in a set. */
export interface Element {
  readonly set: ElementSet;
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

/**
 * The elements of one roaming address: what its network's prefixes are in the rules, it is in these. Errors:
 * ADDRESS_INVALID, FIREWALL.
 */
export const roamingElementsOf = ({ address, network }: RoamingAddress): readonly Element[] => {
  const { family, text: key } = parseAddress(address);
  const { receive, send, leave } = verdictsOf(network);
  return [
    { set: `roam_to${family}`, key, value: receive },
    ...(send === undefined ? [] : [{ set: `roam_from${family}`, key, value: send } as const]),
    ...(leave === undefined ? [] : [{ set: `roam_leave${family}`, key, value: leave } as const]),
    ...(network.internal ? [{ set: `roam_internal${family}`, key } as const] : []),
  ];
};

/** The elements of many roaming addresses, by place. Errors: FIREWALL when two networks want one address. */
export const roamingElements = (addresses: readonly RoamingAddress[]): Map<string, Element> => {
  const elements = new Map<string, Element>();
  for (const roaming of addresses) {
    for (const element of roamingElementsOf(roaming)) {
      const place = placeOf(element);
      if ((elements.get(place)?.value ?? element.value) !== element.value) {
        const reason = 'two networks of this host have it';
        throw new PluginError('FIREWALL', { what: `address ${roaming.address}`, reason });
      }
      elements.set(place, element);
    }
  }
  return elements;
};

/** All elements of a model, by place. Errors: FIREWALL, ADDRESS_INVALID. */
export const elementsOfModel = ({ ports, roaming = [] }: FirewallModel): Map<string, Element> =>
  new Map([...elementsOfAll(ports), ...roamingElements(roaming)]);

/** What an element is about, in words. */
export const subjectOf = ({ set }: Element): 'port' | 'address' => (set.startsWith('roam_') ? 'address' : 'port');

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
