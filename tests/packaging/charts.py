"""deploy/helm/vestibule: what Helm makes of it, and what Kubernetes' schemas say of that."""

import kubernetes_validate
import yaml
from helm_python import chart as helm
from helm_python.errors import HelmValuesError

# The oldest that the chart is for, and the newest that there are schemas of.
VERSIONS = ("1.30", "1.37")

LEAST = {"image": {"repository": "images.example/vestibule"}, "settings": {"AUTHRESS_API_URL": "https://auth.example.com"}}
ALL = {
    **LEAST,
    "config": '[[rules]]\npath = "/"\ncallers = "either"\n',
    "grpc": {"enabled": True},
    "metrics": {"enabled": True},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]},
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}


def refused(values):
    """Values that the chart takes for a mistake."""
    return {
        "no image": {**values, "image": {"repository": ""}},
        "no provider": {**values, "settings": {}},
        "a secret": {**values, "settings": {**values["settings"], "DATABASE_URL": "postgres://app:secret@db/app"}},
        "a number": {**values, "settings": {**values["settings"], "TOKEN_CACHE_SIZE": 1000000}},
        "no name of the Secret": {**values, "secrets": {"serve": ""}},
    }


def chart(deploy, check, known):
    path = deploy / "helm" / "vestibule"
    loaded = helm.Chart.load(path)
    for what, values in refused(LEAST).items():
        try:
            loaded.validate_schema(loaded.merge_values(values))
            check(False, f"the chart takes {what}")
        except HelmValuesError:
            pass
    for values in (LEAST, ALL):
        loaded.validate_schema(loaded.merge_values(values))
        said = helm.lint(path, values, strict=True)
        # 1: information, such as a wish for an icon.
        check(not [one for one in said["messages"] if one["severity"] > 1], f"helm lint: {said}")
        objects = {}
        for text in loaded.render(values, name="door", namespace="here").values():
            for one in filter(None, yaml.safe_load_all(text)):
                for version in VERSIONS:
                    try:
                        kubernetes_validate.validate(one, version, strict=True)
                    except kubernetes_validate.ValidationError as error:
                        check(False, f"{one['kind']}, Kubernetes {version}: {error.message}")
                objects[one["kind"]] = one
        judge(objects, values, check, known)
    for kind in ("NetworkPolicy", "ConfigMap"):
        check(kind in objects, f"no {kind}, though asked for")


def judge(objects, values, check, known):
    for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "Job"):
        check(kind in objects, f"the chart makes no {kind}")
    check("Secret" not in objects, "the chart makes a Secret")
    pod = objects["Deployment"]["spec"]["template"]
    job = objects["Job"]["spec"]["template"]
    check(objects["Job"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade", "the migration is no hook")
    for one in (pod, job):
        spec = one["spec"]
        (container,) = spec["containers"]
        own = container["securityContext"]
        safe = (
            spec["automountServiceAccountToken"] is False
            and spec["securityContext"]["runAsNonRoot"]
            and own["readOnlyRootFilesystem"]
            and own["allowPrivilegeEscalation"] is False
            and own["capabilities"] == {"drop": ["ALL"]}
        )
        check(safe, f"{container['name']} may more than it needs")
        known([setting["name"] for setting in container["env"] if setting["name"] != "POD_IP"], f"chart: {container['name']}")
        check(not [setting for setting in container["env"] if "secretKeyRef" in str(setting)], "a secret in the environment")
    check("database-admin-url" not in str(pod), "serve has the owner's login")
    check("database-admin-url" in str(job), "the migration has not the owner's login")
    (container,) = pod["spec"]["containers"]
    probes = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness", "startup")]
    check(probes == ["/healthz", "/readyz", "/healthz"], f"probes {probes}")
    labels = pod["metadata"]["labels"].items()
    for kind, selector in (
        ("Service", objects["Service"]["spec"]["selector"]),
        ("PodDisruptionBudget", objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
    ):
        check(selector.items() <= labels, f"{kind} does not mean the pods")
        check(not selector.items() <= job["metadata"]["labels"].items(), f"{kind} means the migration too")
    ports = {port["name"] for port in container["ports"]}
    check(ports == ({"http", "grpc", "metrics"} if values is ALL else {"http"}), f"ports {ports}")
    check("metrics" not in str(objects["Service"]), "the Service hands out metrics")
