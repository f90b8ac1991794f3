import { expect, test } from 'vitest'

test('this folder is compiled with legacy decorators, which get a target, a name and a descriptor', () => {
  const calls: unknown[][] = []
  const record = (target: object, property: string, descriptor: PropertyDescriptor) => {
    calls.push([target, property, descriptor.value])
  }

  class Service {
    @record
    method() {}
  }

  expect(calls).toEqual([[Service.prototype, 'method', Service.prototype.method]])
})
