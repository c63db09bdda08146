/** From route tables to what a router carries. */
import type { EffectiveRoute } from '../core/routes.ts';
import type { World } from './world.ts';

/** Every table's routes as they are now, but the local ones. */
export function effectiveRoutes(world: World): EffectiveRoute[] {
  const routes: EffectiveRoute[] = [];
  for (const table of world.tables.values()) {
    for (const [key, { prefix, target }] of table.routes.entries()) {
      // A static route stands before a propagated one of the same prefix.
      if (key !== prefix && table.routes.get(prefix) !== undefined) continue;
      const state = world.stateOf(target);
      const each = target.kind === 'interface' ? world.interfaces.get(target.id) : undefined;
      const via = (prefix.includes(':') ? each?.addresses6 : each?.addresses)?.[0];
      // An interface that checks source and destination takes no packets for others.
      const carries = state === 'active' && via !== undefined && world.sourceDestCheck.get(target.id)?.on === false;
      routes.push({ table: table.id, prefix, target: target.id, state, ...(carries && { via }) });
    }
  }
  return routes;
}
