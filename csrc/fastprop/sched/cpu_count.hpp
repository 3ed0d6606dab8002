// How many processors this process may use: the affinity mask and the cgroup's CPU quota (v1 and
// v2), not the host's core count. Reads files; call it once, not on a hot path.
#pragma once

#include <string>

namespace fastprop {

int cpu_count();

// The same for a file tree at `root` and a known affinity count; what tests call.
int cpu_count_under(const std::string& root, int affinity);

}  // namespace fastprop
