declare const old: { hostname(): string };
export = old;
