// OpenCode loads this file as the entry of the package, and finds the skill in the package's own skills/.
// Generated: to change it, change the template in scripts/sync.py and run `make sync`.
import { fileURLToPath } from "node:url"

const skills = fileURLToPath(new URL("../../skills", import.meta.url))

export const DjangoCeleryExpert = async () => ({
  config: async (config) => {
    config.skills ??= {}
    config.skills.paths = [...new Set([...(config.skills.paths ?? []), skills])]
  },
})
