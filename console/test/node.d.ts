declare module "node:test" {
  export default function test(name: string, work: () => void): void;
}
declare module "node:assert/strict" {
  const assert: { equal(actual: unknown, expected: unknown): void; deepEqual(actual: unknown, expected: unknown): void; ok(value: unknown): void };
  export default assert;
}
