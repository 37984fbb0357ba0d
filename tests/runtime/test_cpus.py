"""CPU limits of containers."""

from pathlib import Path

from fmnist_runtime.cpus import available_cpus, quota


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/a/b").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "sys/fs/cgroup/a/b/cpu.max").write_text("max 100000\n")
    assert quota(tmp_path) is None
    (tmp_path / "sys/fs/cgroup/a/cpu.max").write_text("50000 100000\n")  # a parent's limit holds for its children
    assert quota(tmp_path) == 0.5 and available_cpus(tmp_path) == 1


def test_the_older_interface_counts_too(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/x").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("3:cpu,cpuacct:/x\n2:memory:/x\n")
    for name, value in (("quota", -1), ("period", 100000)):
        (tmp_path / f"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_{name}_us").write_text(f"{value}\n")
    assert quota(tmp_path) is None
    (tmp_path / "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us").write_text("150000\n")
    assert quota(tmp_path) == 1.5
