{{- /* Common to both containers. */ -}}
{{- define "samply-operator.container" -}}
image: {{ include "samply-operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - name: SAMPLY_OPERATOR_SETTINGS
    value: /etc/samply-operator/settings.json
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.namespace
  - name: POD_NAME
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: metadata.name
  - name: RELEASE_NAME
    value: {{ .Release.Name | quote }}
  {{- if include "samply-operator.isBucket" . }}
  # Where another pod reaches this one, to pass a request on to the leader.
  - name: POD_IP
    valueFrom:
      fieldRef:
        apiVersion: v1
        fieldPath: status.podIP
  {{- end }}
  {{- if include "samply-operator.caBundle" . }}
  # OpenSSL's own variable. The public authorities are found in its folder, as before.
  - name: SSL_CERT_FILE
    value: /etc/samply-operator-ca/ca.crt
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* Mounts of both containers. */ -}}
{{- define "samply-operator.mounts" -}}
- name: settings
  mountPath: /etc/samply-operator
  readOnly: true
{{- if include "samply-operator.caBundle" . }}
- name: ca-bundle
  mountPath: /etc/samply-operator-ca
  readOnly: true
{{- end }}
{{- if include "samply-operator.isBucket" . }}
{{- if .Values.storageAccess.credentialsSecret }}
- name: storage-credentials
  mountPath: /etc/samply-operator-storage/credentials
  readOnly: true
{{- end }}
{{- if .Values.storageAccess.tokenAudience }}
- name: storage-token
  mountPath: /etc/samply-operator-storage/token
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* "true" if profiles are stored in a bucket; empty: on the volume. */ -}}
{{- define "samply-operator.isBucket" -}}
{{- $storage := .Values.config.storage -}}
{{- if eq $storage.kind "Bucket" -}}
{{- if not $storage.bucket.url -}}
{{- fail "config.storage.kind is Bucket: config.storage.bucket.url must name it, such as s3://profiles." -}}
{{- end -}}
{{- if and $storage.bucket.roleArn (not .Values.storageAccess.tokenAudience) -}}
{{- fail "config.storage.bucket.roleArn is exchanged for the pod's token: set storageAccess.tokenAudience, such as sts.amazonaws.com." -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- /* "true" if the pod's volume is a claim; otherwise empty. */ -}}
{{- define "samply-operator.hasClaim" -}}
{{- if or (not (include "samply-operator.isBucket" .)) .Values.storageAccess.spoolOnClaim -}}true{{- end -}}
{{- end -}}

{{- /* The volume with further certificate authorities; empty if there are none. */ -}}
{{- define "samply-operator.caBundle" -}}
{{- $bundle := .Values.extraCaBundle -}}
{{- if and $bundle.configMapName $bundle.secretName -}}
{{- fail "extraCaBundle: give configMapName or secretName, not both." -}}
{{- end -}}
{{- if or $bundle.configMapName $bundle.secretName -}}
name: ca-bundle
{{- if $bundle.configMapName }}
configMap:
  name: {{ $bundle.configMapName }}
{{- else }}
secret:
  secretName: {{ $bundle.secretName }}
{{- end }}
  items:
    - key: {{ $bundle.key }}
      path: ca.crt
{{- end -}}
{{- end -}}
