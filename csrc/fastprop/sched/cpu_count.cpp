#include "fastprop/sched/cpu_count.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace fastprop {

namespace {

int affinity_count() {
  for (std::size_t cpus = 1024; cpus <= (std::size_t{1} << 20); cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const std::size_t size = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(size, set);
    const bool known = sched_getaffinity(0, size, set) == 0;
    const int count = known ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

double quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  std::istringstream number(quota);
  double value = 0;
  return (number >> value) && value > 0 ? value / period : 0;
}

double quota_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

// Every folder from `path` up to the root: a limit set on an ancestor binds as well.
std::vector<std::string> ancestors(std::string path) {
  std::vector<std::string> found;
  while (!path.empty() && path != "/") {
    found.push_back(path);
    path.erase(path.find_last_of('/'));
  }
  found.emplace_back();
  return found;
}

double smallest_quota(const std::string& root) {
  double smallest = 0;
  const auto take = [&smallest](double quota) {
    if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
  };
  std::ifstream file(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers == ",,") {
      for (const auto& folder : ancestors(path)) take(quota_v2(base + folder));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      for (const auto& folder : ancestors(path)) {
        take(quota_v1(base + "/cpu" + folder));
        take(quota_v1(base + "/cpu,cpuacct" + folder));
      }
    }
  }
  return smallest;
}

}  // namespace

int cpu_count_under(const std::string& root, int affinity) {
  const double quota = smallest_quota(root);
  if (quota <= 0) return affinity;
  return std::clamp(static_cast<int>(std::ceil(quota)), 1, affinity);
}

int cpu_count() { return cpu_count_under("", affinity_count()); }

}  // namespace fastprop
