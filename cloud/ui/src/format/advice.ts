/** What a person types on the gateway; the one place that knows the operator tool's command line. */

export function operatorCommand(zone: string): string {
  return `minewarden guardian reset --zone ${zone} --reason "…"`;
}
