{{- /* Not the chart's own name, which an alias replaces: the selector must stay. */ -}}
{{- define "samply-operator.name" -}}
{{ .Values.nameOverride | default "samply-operator" }}
{{- end -}}

{{- define "samply-operator.fullname" -}}
{{- $name := include "samply-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" (.Release.Name | trunc 36 | trimSuffix "-") $name | trunc 53 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- /* Cluster-scoped objects, and Roles in other namespaces: names that differ between releases of the same name. */ -}}
{{- define "samply-operator.rbacName" -}}
{{ .Release.Namespace }}:{{ include "samply-operator.fullname" . }}
{{- end -}}

{{- define "samply-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "samply-operator.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "samply-operator.claim" -}}
{{ .Values.persistence.existingClaim | default (printf "%s-profiles" (include "samply-operator.fullname" .)) }}
{{- end -}}

{{- /* A reference: (list registry repository tag digest). The digest wins over the tag. */ -}}
{{- define "samply-operator.reference" -}}
{{- $registry := index . 0 -}}
{{- if $registry -}}{{ trimSuffix "/" $registry }}/{{- end -}}
{{- index . 1 -}}
{{- if index . 3 -}}@{{ index . 3 }}{{- else -}}:{{ index . 2 }}{{- end -}}
{{- end -}}

{{- define "samply-operator.image" -}}
{{- $image := .Values.image -}}
{{- $registry := .Values.global.imageRegistry | default $image.registry -}}
{{- include "samply-operator.reference" (list $registry $image.repository ($image.tag | default .Chart.AppVersion) $image.digest) -}}
{{- end -}}

{{- /* The tag of the ephemeral container's image. */ -}}
{{- define "samply-operator.helperTag" -}}
{{- .Values.helperImage.tag | default .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{- /* The image of the ephemeral container: beside the operator's own, unless it is named. */ -}}
{{- define "samply-operator.helperImage" -}}
{{- $helper := .Values.helperImage -}}
{{- $registry := .Values.global.imageRegistry | default $helper.registry | default .Values.image.registry -}}
{{- $repository := $helper.repository | default (printf "%s-samply" .Values.image.repository) -}}
{{- .Values.config.ephemeral.image | default (include "samply-operator.reference" (list $registry $repository (include "samply-operator.helperTag" .) $helper.digest)) -}}
{{- end -}}

{{- /* CEL: whether the image `c.image` is the ephemeral container's, also as a webhook of the cluster rewrites it. */ -}}
{{- define "samply-operator.helperImageTest" -}}
{{- $image := include "samply-operator.helperImage" . -}}
{{- $tests := list (printf "c.image == %s" (quote $image)) -}}
{{- $parts := splitList "@" $image -}}
{{- $last := base (first $parts) -}}
{{- $tag := ternary (splitList ":" $last | last) "" (contains ":" $last) | regexQuoteMeta -}}
{{- /* A pinned digest stays, whatever the name. Without one, a reference without a tag means latest. */ -}}
{{- $end := printf "(:%s)?@%s" $tag (last $parts) -}}
{{- if eq (len $parts) 1 -}}
{{- $end = printf "(:%[1]s|(:%[1]s)?@sha256:[0-9a-f]{64})" ($tag | default "latest") -}}
{{- else if not $tag -}}
{{- $end = printf "@%s" (last $parts) -}}
{{- end -}}
{{- range .Values.helperImage.rewrittenAs -}}
{{- if or (contains "@" .) (contains ":" (base .)) -}}
{{- $tests = append $tests (printf "c.image == %s" (quote .)) -}}
{{- else -}}
{{- $tests = append $tests (printf "c.image.matches(r'^%s%s$')" (regexQuoteMeta .) $end) -}}
{{- end -}}
{{- end -}}
{{- join " || " $tests -}}
{{- end -}}

{{- /* Secrets to pull with, of this chart and of its parent, as a JSON list. */ -}}
{{- define "samply-operator.pullSecrets" -}}
{{- $found := list -}}
{{- /* Other charts have plain names in the part that all share. */ -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $found = append $found (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{ uniq $found | toJson }}
{{- end -}}

{{- define "samply-operator.selector" -}}
app.kubernetes.io/name: {{ include "samply-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* The pod of `helm test`. Not the Deployment's: neither the Service nor the NetworkPolicy selects it. */ -}}
{{- define "samply-operator.testSelector" -}}
app.kubernetes.io/name: {{ include "samply-operator.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- /* Fails if values contradict the selector, which no object would match then. */ -}}
{{- define "samply-operator.checkLabels" -}}
{{- range $key, $value := include "samply-operator.selector" . | fromYaml -}}
{{- range $where, $labels := dict "extraLabels" $.Values.extraLabels "podLabels" $.Values.podLabels "service.labels" $.Values.service.labels -}}
{{- if ne (dig $key $value ($labels | default dict)) $value -}}
{{- fail (printf "%s: the selector needs %s: %s. Leave this key out; the name follows nameOverride, the instance the release." $where $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A list of maps as one, in YAML: of the same key, the first one counts. Strict readers of YAML, such as kustomize,
       refuse a key that is repeated. */ -}}
{{- define "samply-operator.merge" -}}
{{- $found := dict -}}
{{- /* Not `merge`, which takes an empty text for one that is missing. */ -}}
{{- range reverse . }}{{ range $key, $value := . -}}
{{- if kindIs "invalid" $value }}{{ $_ := unset $found $key }}{{ else }}{{ $_ := set $found $key $value }}{{ end -}}
{{- end }}{{ end -}}
{{ toYaml $found }}
{{- end -}}

{{- /* The chart's labels of all objects, in addition to the selector. */ -}}
{{- define "samply-operator.commonLabels" -}}
helm.sh/chart: {{ printf "samply-operator-%s" (.Chart.Version | replace "+" "_") | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "samply-operator.labels" -}}
{{ include "samply-operator.labelsWith" (list . dict) }}
{{- end -}}

{{- /* Of the root and a map: the labels of an object with further ones. */ -}}
{{- define "samply-operator.labelsWith" -}}
{{- $root := first . -}}
{{- $selector := include "samply-operator.selector" $root | fromYaml -}}
{{- $common := include "samply-operator.commonLabels" $root | fromYaml -}}
{{ include "samply-operator.merge" (list (last .) $selector $root.Values.extraLabels $common) }}
{{- end -}}

{{- /* Of the pod: without those of Helm, which would replace it when only the chart is newer. */ -}}
{{- define "samply-operator.podLabels" -}}
{{- $selector := include "samply-operator.selector" . | fromYaml -}}
{{- $version := dict "app.kubernetes.io/version" .Chart.AppVersion -}}
{{ include "samply-operator.merge" (list $selector .Values.podLabels .Values.extraLabels $version) }}
{{- end -}}

{{- define "samply-operator.podAnnotations" -}}
kubectl.kubernetes.io/default-container: operator
checksum/settings: {{ .Values.config | toJson | sha256sum | quote }}
{{- if or (ne .Values.config.storage.kind "Bucket") .Values.storageAccess.spoolOnClaim }}
cluster-autoscaler.kubernetes.io/safe-to-evict: "true"
{{- end }}
{{- if .Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.config.api.metricsPort | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}

{{- /* The namespaces with pipelines, as a JSON list under "items". */ -}}
{{- define "samply-operator.namespaces" -}}
{{- $targets := .Values.config.targets -}}
{{- if and $targets.clusterWide $targets.namespaces -}}
{{- fail "config.targets: give namespaces or clusterWide: true, not both." -}}
{{- end -}}
{{ dict "items" ($targets.namespaces | default (list .Release.Namespace)) | toJson }}
{{- end -}}

{{- /* The Secrets that the operator reads, as a JSON list under "items". */ -}}
{{- define "samply-operator.secrets" -}}
{{- $names := list -}}
{{- with .Values.config.auth.apiKeys -}}{{- if .enabled -}}{{- $names = append $names .secretName -}}{{- end -}}{{- end -}}
{{- with .Values.config.api.links.secretName -}}{{- $names = append $names . -}}{{- end -}}
{{ dict "items" $names | toJson }}
{{- end -}}

{{- /* Fails if no authentication method is enabled, or if the values contradict each other, like settings.py. */ -}}
{{- define "samply-operator.checkAuth" -}}
{{- $auth := .Values.config.auth -}}
{{- $some := or $auth.kubernetes.enabled $auth.oidc.enabled $auth.apiKeys.enabled $auth.feldera.enabled -}}
{{- if not (or $some $auth.unsafeLetAnyoneInWithoutAuthentication) -}}
{{- fail "config.auth: no method is enabled. Enable kubernetes, oidc, apiKeys or feldera; or disable authentication with unsafeLetAnyoneInWithoutAuthentication: true." -}}
{{- end -}}
{{- if and $auth.kubernetes.enabled (not $auth.kubernetes.audiences) -}}
{{- fail "config.auth.kubernetes: give at least one audience." -}}
{{- end -}}
{{- if and $auth.oidc.enabled (not (and $auth.oidc.issuer $auth.oidc.audience $auth.oidc.algorithms)) -}}
{{- fail "config.auth.oidc: give issuer, audience and algorithms." -}}
{{- end -}}
{{- if and $auth.apiKeys.enabled (not $auth.apiKeys.secretName) -}}
{{- fail "config.auth.apiKeys: give secretName." -}}
{{- end -}}
{{- if and $auth.feldera.enabled (not .Values.config.feldera.url) -}}
{{- fail "config.auth.feldera asks Feldera: give config.feldera.url." -}}
{{- end -}}
{{- if and .Values.config.feldera.preferOwnSamply (not .Values.config.feldera.url) -}}
{{- fail "config.feldera.preferOwnSamply asks Feldera: give config.feldera.url." -}}
{{- end -}}
{{- if and $auth.oidc.enabled (has $auth.oidc.issuer $auth.feldera.issuers) -}}
{{- fail "config.auth: one issuer is oidc's or feldera's, not of both." -}}
{{- end -}}
{{- end -}}

{{- /* Whether Kubernetes reviews callers' tokens: "true" or nothing. */ -}}
{{- define "samply-operator.reviews" -}}
{{- $auth := .Values.config.auth -}}
{{- if and $auth.kubernetes.enabled (not $auth.unsafeLetAnyoneInWithoutAuthentication) -}}true{{- end -}}
{{- end -}}

{{- /* The release that owns the CRD of that name in the cluster, as "namespace/name"; empty: none does (or it can't be
       looked up, as in helm template). Helm refuses to touch an object of another release, so such a CRD is left
       alone. */ -}}
{{- define "samply-operator.crdOwner" -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" . }}{{ include "samply-operator.ownerOf" . }}{{ end -}}
{{- end -}}

{{- /* The release that owns an object, as "namespace/name"; "/" if none does. */ -}}
{{- define "samply-operator.ownerOf" -}}
{{- $notes := .metadata.annotations | default dict -}}
{{ index $notes "meta.helm.sh/release-namespace" | default "" }}/{{ index $notes "meta.helm.sh/release-name" | default "" }}
{{- end -}}

{{- /* Of the root and the name of a CRD: whether this release may install it; "true" or nothing. */ -}}
{{- define "samply-operator.ownsCrd" -}}
{{- $root := first . -}}
{{- $owner := include "samply-operator.crdOwner" (last .) -}}
{{- if or (not $owner) (eq $owner (printf "%s/%s" $root.Release.Namespace $root.Release.Name)) -}}true{{- end -}}
{{- end -}}

{{- /* Paths that an Ingress or a Gateway publishes: neither probes nor metrics. */ -}}
{{- define "samply-operator.published" -}}
{{- $base := .Values.config.api.basePath -}}
{{- $found := list -}}
{{- range list "/v0/config" "/openapi.json" "/docs" -}}
{{- $found = append $found (dict "path" (print $base .) "pathType" "Exact") -}}
{{- end -}}
{{- if .Values.config.api.console.enabled -}}
{{- $found = append $found (dict "path" (print $base "/console") "pathType" "Prefix") -}}
{{- end -}}
{{ append $found (dict "path" (print $base "/v0/pipelines") "pathType" "Prefix") | toJson }}
{{- end -}}

{{- /* "true" where StatefulSets can be looked up and none is a pipeline's. Only selectors of the form key=value are
       understood; with others nothing is said. */ -}}
{{- define "samply-operator.matchesNothing" -}}
{{- $targets := .Values.config.targets -}}
{{- $places := ternary (list "") (include "samply-operator.namespaces" . | fromJson).items $targets.clusterWide -}}
{{- $selectors := ternary (list $targets.podSelector) $targets.podSelector (kindIs "string" $targets.podSelector) -}}
{{- $says := dict "found" (not (lookup "v1" "Namespace" "" .Release.Namespace)) -}}
{{- range $selectors }}{{ if not (regexMatch "^[^=!,() ]+=[^=!,() ]+$" .) }}{{ $_ := set $says "found" true }}{{ end }}{{ end -}}
{{- range $places -}}
{{- range ((lookup "apps/v1" "StatefulSet" . "").items | default list) -}}
{{- $labels := merge (dict) (.spec.template.metadata.labels | default dict) (.metadata.labels | default dict) -}}
{{- range $selectors -}}
{{- $parts := splitn "=" 2 . -}}
{{- if eq (get $labels $parts._0 | default "" | toString) ($parts._1 | default "" | toString) }}{{ $_ := set $says "found" true }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $says.found }}true{{ end -}}
{{- end -}}
