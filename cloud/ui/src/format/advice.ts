/**
 * What a person types on the gateway; the one place that knows the operator tool's command line. The path
 * is where `packaging/install.sh` puts the site file.
 */

export function operatorCommand(zone: string): string {
  return `minewarden guardian reset --site /etc/minewarden/site.toml --zone ${zone} --reason "…"`;
}
